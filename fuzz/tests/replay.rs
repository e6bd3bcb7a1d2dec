//! Every input of the committed corpora, without a fuzzer.

use std::fs;
use std::path::{Path, PathBuf};

use steadfast_fuzz::TARGETS;

/// One test function: what another one allocated meanwhile would be counted as the machines' memory. With the environment
/// variables `STEADFAST_TARGET` and `STEADFAST_INPUT` only this file, and with `STEADFAST_LOUD` all that happens is printed.
#[test]
fn the_corpora_hold() {
    let only = |name| std::env::var(name).ok();
    for (name, run) in TARGETS {
        if only("STEADFAST_TARGET").is_some_and(|only| only != name) {
            continue;
        }
        if let Some(input) = only("STEADFAST_INPUT") {
            run(&fs::read(input).expect("a file that can be read"));
            continue;
        }
        let inputs = inputs(&Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name));
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            let replay = Replay(name, &input);
            run(&fs::read(&input).expect("a file that can be read"));
            drop(replay);
        }
    }
}

fn inputs(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut inputs: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    inputs.sort();
    inputs
}

/// While it lives, a panic prints the input.
struct Replay<'a>(&'a str, &'a Path);

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} failed with {}", self.0, self.1.display());
        }
    }
}
