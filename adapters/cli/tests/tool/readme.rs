//! The README's server and client are the examples, and they work.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const README: &str = include_str!("../../../../README.md");

/// An example that `cargo test` has built beside this test.
fn example(name: &str) -> Command {
    let folder = Path::new(env!("CARGO_BIN_EXE_steadfast")).parent().expect("a folder").join("examples");
    let path = folder.join(name).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(path.exists(), "{} is missing: `cargo build --package steadfast-cli --examples` makes it", path.display());
    Command::new(path)
}

/// Ends the server with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has seen then.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_readme_shows_the_examples() {
    for code in [include_str!("../../examples/server.rs"), include_str!("../../examples/client.rs")] {
        assert!(README.contains(&format!("```rust\n{code}```")), "the README differs from:\n{code}");
        assert!(code.lines().count() <= 25);
    }
}

#[test]
fn the_examples_talk_to_each_other() {
    let server = example("server").arg("tcp://127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap();
    let mut server = Running(server);
    let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
    let url = lines.next().unwrap().unwrap();
    let client = example("client").arg(url).output().unwrap();
    assert!(client.status.success(), "{client:?}");
    assert_eq!(client.stdout, b"pong\n");
    assert_eq!(lines.next().unwrap().unwrap(), "hello");
}
