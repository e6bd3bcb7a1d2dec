//! The demo as a user runs it.

use crate::harness::{Ended, Tool};
use serde_json::Value;

fn result(ended: &Ended) -> Value {
    let last = ended.stdout.last().unwrap_or_else(|| panic!("a line of JSON: {ended:?}"));
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {last}"))
}

/// Runs the demo and checks all that holds for every run.
fn demo(args: &[&str]) -> Value {
    let ended = Tool::run(&[&["demo", "--json"], args].concat(), b"");
    let result = result(&ended);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(result["sent"].as_u64() > Some(100), "{result}");
    assert_eq!(result["sent"], result["received"], "{result}");
    for fault in ["lost", "duplicated", "reordered"] {
        assert_eq!(result[fault], 0, "{result}");
    }
    result
}

#[test]
fn nothing_is_lost_while_the_wire_is_cut() {
    let result = demo(&["--seconds", "3", "--cut-every", "100"]);
    assert!(result["cuts"].as_u64() >= Some(10), "{result}");
    assert!(result["resumes"].as_u64() > Some(0), "{result}");
    assert!(result["seconds"].as_f64() >= Some(3.0), "{result}");
    assert!(result["bytes"].as_u64() > Some(0), "{result}");
}

#[test]
fn the_shortest_lives_of_links_are_survived() {
    let result = demo(&["--seconds", "2", "--cut-every", "20", "--seed", "7"]);
    assert!(result["cuts"].as_u64() > Some(10), "{result}");
}

#[test]
fn a_file_is_carried_whole_even_if_that_takes_longer() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let bytes: Vec<u8> =
        (0..3_000_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::io::Write::write_all(&mut file, &bytes).unwrap();
    let path = file.path().to_str().unwrap();
    let result = demo(&["--seconds", "1", "--cut-every", "50", "--file", path]);
    assert!(result["bytes"].as_u64() >= Some(bytes.len() as u64), "{result}");
}

#[test]
fn an_empty_file_is_carried() {
    let file = tempfile::NamedTempFile::new().unwrap();
    demo(&["--seconds", "1", "--file", file.path().to_str().unwrap()]);
}

#[test]
fn the_summary_for_people_says_what_happened() {
    let ended = Tool::run(&["demo", "--seconds", "1", "--cut-every", "100"], b"");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let summary = ended.stdout.join("\n");
    for part in ["resets", "truncations", "stalls", "resumed", "none lost", "none duplicated", "none out of order"] {
        assert!(summary.contains(part), "{part}: {summary}");
    }
}

#[test]
fn a_file_that_is_not_there_is_one_clear_line() {
    let ended = Tool::run(&["demo", "--file", "/nothing/here"], b"");
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.stderr.len(), 1, "{ended:?}");
    assert!(ended.stderr[0].contains("/nothing/here"), "{ended:?}");
}
