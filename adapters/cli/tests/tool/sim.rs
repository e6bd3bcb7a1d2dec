//! Scenarios as a user runs them.

use serde_json::Value;

use crate::errors::fails;
use crate::harness::{Ended, Tool};

fn result(ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let [line] = &ended.stdout[..] else { panic!("one line: {ended:?}") };
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn sim(args: &[&str]) -> Value {
    result(&Tool::run(&[&["sim", "--json"], args].concat(), b""))
}

const FIELDS: [&str; 15] = [
    "delivered",
    "lost",
    "duplicated",
    "reordered",
    "seconds",
    "p50_ms",
    "p99_ms",
    "p999_ms",
    "payload_bytes",
    "wire_bytes",
    "datagrams",
    "ack_datagrams",
    "retransmitted_bytes",
    "cuts",
    "resumes",
];

#[test]
fn a_scenario_is_one_line_with_one_object() {
    let result = sim(&[]);
    let object = result.as_object().expect("an object");
    assert_eq!(object.len(), FIELDS.len(), "{result}");
    for field in FIELDS {
        assert!(object[field].is_number(), "{field}: {result}");
    }
    assert_eq!(result["delivered"], 1000);
    assert_eq!(result["payload_bytes"], 1000 * 1024);
}

#[test]
fn each_option_does_something() {
    let usual = sim(&[]);
    let number = |result: &Value, field: &str| result[field].as_f64().expect("a number");
    for (args, field, expected) in [
        (&["--messages", "10"][..], "delivered", 10.0),
        (&["--size", "10"], "payload_bytes", 10_000.0),
        (&["--messages", "11", "--interval", "10000", "--size", "10"], "seconds", 0.125_008),
        (&["--messages", "1", "--rtt", "200", "--size", "10"], "p50_ms", 100.002),
        (&["--messages", "1", "--rtt", "0", "--size", "9998", "--rate", "1"], "p50_ms", 80.0),
    ] {
        let found = number(&sim(args), field);
        assert!((found / expected - 1.0).abs() < 0.001, "{args:?}: {field} is {found} and not {expected}");
    }
    let cut = sim(&["--interval", "1000", "--cut-every", "200"]);
    assert!(number(&cut, "cuts") >= 3.0 && number(&cut, "resumes") >= 3.0, "{cut}");
    let queued = sim(&["--queue", "3000", "--rate", "20"]);
    assert!(number(&queued, "seconds") > number(&usual, "seconds"), "{queued}");
    assert_eq!(sim(&["--profile", "interactive", "--link", "stream"])["delivered"], 1000);
    let with_seed = |seed| sim(&["--interval", "700", "--cut-every", "100", "--seed", seed]);
    assert_eq!(with_seed("7"), with_seed("7"));
    assert_ne!(with_seed("7"), with_seed("8"));
}

#[test]
fn each_harm_is_done_to_datagrams_and_nothing_comes_of_it() {
    let usual = sim(&["--link", "datagram", "--interval", "1000"]);
    assert!(usual["datagrams"].as_u64() > usual["ack_datagrams"].as_u64(), "{usual}");
    for harm in [
        &["--loss", "0.05"][..],
        &["--burst-loss", "0.05"],
        &["--reorder", "0.2"],
        &["--reorder", "0.2", "--reorder-delay", "30"],
        &["--duplicate", "0.2"],
        &["--corrupt", "0.05"],
        &["--cut-every", "400"],
        &["--profile", "interactive", "--loss", "0.05"],
        &["--queue", "4000", "--rate", "10"],
    ] {
        let result = sim(&[&["--link", "datagram", "--interval", "1000"], harm].concat());
        assert_ne!(result, usual, "{harm:?}");
        for (field, expected) in [("delivered", 1000), ("lost", 0), ("duplicated", 0), ("reordered", 0)] {
            assert_eq!(result[field], expected, "{harm:?}: {result}");
        }
    }
    let few = ["--link", "datagram", "--messages", "20", "--size", "5000", "--interval", "20000", "--mtu"];
    let datagrams = |mtu| sim(&[&few[..], &[mtu]].concat())["datagrams"].as_u64();
    assert!(datagrams("1200") > datagrams("9000"));
}

#[test]
fn a_file_says_a_scenario_and_options_go_before_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let text =
        "link = \"stream\"\nmessages = 20\nsize = 50\nrtt = 10\nrate = 2.5\ncut-every = 300\nprofile = \"bulk\"\n";
    std::fs::write(path, text).unwrap();
    let same = sim(&["--messages", "20", "--size", "50", "--rtt", "10", "--rate", "2.5", "--cut-every", "300"]);
    assert_eq!(sim(&[path]), same);
    let other = sim(&[path, "--messages", "30"]);
    assert_eq!((&other["delivered"], &other["payload_bytes"]), (&30.into(), &1500.into()));
}

#[test]
fn what_cannot_be_is_one_line() {
    for (args, part) in [
        (&["--link", "pigeon"][..], "pigeon"),
        (&["--profile", "fast"], "fast"),
        (&["--messages", "0"], "--messages is 0"),
        (&["--messages", "many"], "many"),
        (&["--size", "0"], "--size is 0"),
        (&["--size", "99999999"], "--size is 99999999"),
        (&["--size", "18446744073709551615"], "--size is 18446744073709551615"),
        (&["--size", "1000000", "--rate", "0.001"], "--size is 1000000 bytes, for which 0.001 Mbit/s need 8000 s"),
        (&["--interval", "-1"], "--interval"),
        (&["--rtt", "-1"], "--rtt"),
        (&["--rtt", "nan"], "--rtt is NaN"),
        (&["--rate", "0"], "--rate is 0"),
        (&["--queue", "-1"], "--queue"),
        (&["--cut-every", "0"], "--cut-every is 0"),
        (&["--seed", "x"], "--seed"),
        (&["--mtu", "1400"], "--mtu is for datagram links"),
        (&["--loss", "0.1"], "--loss is for datagram links"),
        (&["--burst-loss", "0.1"], "--burst-loss is for datagram links"),
        (&["--reorder", "0.1"], "--reorder is for datagram links"),
        (&["--duplicate", "0.1"], "--duplicate is for datagram links"),
        (&["--corrupt", "0.1"], "--corrupt is for datagram links"),
        (&["--link", "datagram", "--loss", "1.1"], "--loss is 1.1"),
        (&["--link", "datagram", "--loss", "5%"], "5%"),
        (&["--link", "datagram", "--mtu", "100"], "--mtu is 100, and not within 1200 to 65507"),
        (&["--link", "datagram", "--mtu", "70000"], "--mtu is 70000, and not within 1200 to 65507"),
        (&["--reorder-delay", "-5"], "--reorder-delay"),
        (&["--svg"], "--svg"),
        (&["--messages", "10000000", "--size", "16777216"], "no more than 100000000000"),
        (&["--messages", "10000000", "--interval", "1000000000"], "no run writes for more than 1000000000000"),
        (&["--messages", "1000001", "--size", "1", "--svg", "/nothing/here.svg"], "1000000 are the most"),
        (
            &["--messages", "1000", "--interval", "1000000", "--cut-every", "50", "--svg", "/nothing/here.svg"],
            "no run of 20000 cuts: 10000 are the most",
        ),
    ] {
        fails(&Tool::run(&[&["sim"], args].concat(), b""), 2, &[part]);
    }
}

#[test]
fn a_file_that_cannot_be_is_one_line() {
    fails(&Tool::run(&["sim", "/nothing/here.toml"], b""), 1, &["/nothing/here.toml"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for (text, part) in [
        ("wings = 2", "wings"),
        ("messages = \"x\"", "messages"),
        ("messages", path),
        ("loss = 0.5", &format!("{path}: loss is for datagram links")),
        ("rate = 0", &format!("{path}: rate is 0")),
    ] {
        std::fs::write(path, text).unwrap();
        fails(&Tool::run(&["sim", path], b""), 2, &[part]);
    }
    std::fs::write(path, "rate = 0").unwrap();
    assert_eq!(
        Tool::run(&["sim", path, "--rate", "1", "--messages", "1"], b"").code,
        Some(0),
        "the option goes before"
    );
    fails(&Tool::run(&["sim", path, "--rate", "-1"], b""), 2, &["--rate is -1"]);
    fails(&Tool::run(&["sim", "--messages", "1", "--svg", "/nothing/here.svg"], b""), 1, &["/nothing/here.svg"]);
}

#[test]
fn a_scenario_that_gets_nowhere_says_why_and_is_still_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture.svg");
    let picture = path.to_str().unwrap();
    let ended = Tool::run(&["sim", "--messages", "100000", "--cut-every", "1", "--json", "--svg", picture], b"");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let result: Value = serde_json::from_str(&ended.stdout[0]).unwrap();
    assert!(result["lost"].as_u64() > Some(0), "{result}");
    // No link lives long enough for an answer.
    assert!(ended.stderr[0].contains("nothing was delivered for 120 s"), "{ended:?}");
    assert!(std::fs::read_to_string(path).unwrap().contains("is cut"));
}

#[test]
fn a_session_that_expires_ends_with_exit_code_3() {
    let ended = Tool::run(&["sim", "--messages", "3000", "--size", "1", "--cut-every", "1", "--json"], b"");
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let [line] = &ended.stderr[..] else { panic!("one line: {ended:?}") };
    assert!(line.contains("the session expired") && line.contains("unconfirmed"), "{line}");
}

#[test]
fn what_a_queue_holds_matters_where_links_are_cut() {
    let args = ["--messages", "3000", "--rtt", "0", "--rate", "0.1", "--cut-every", "100", "--queue"];
    let slowest = |queue| sim(&[&args[..], &[queue]].concat())["p999_ms"].as_f64();
    assert_ne!(slowest("1000"), slowest("100000"));
}

#[test]
fn what_is_said_of_the_result_and_of_files_is_so() {
    let help = Tool::run(&["sim", "--help"], b"").stdout.join("\n");
    for field in FIELDS {
        assert!(help.contains(field), "`{field}` is missing: {help}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for option in ["json = true", "svg = \"a.svg\""] {
        std::fs::write(path, option).unwrap();
        fails(&Tool::run(&["sim", path], b""), 2, &["unknown field"]);
    }
}

#[test]
fn a_picture_shows_the_handshake_the_messages_and_the_cuts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture.svg");
    let picture = path.to_str().unwrap();
    sim(&["--messages", "20", "--interval", "20000", "--size", "10", "--cut-every", "150", "--svg", picture]);
    let text = std::fs::read_to_string(path).unwrap();
    for part in ["<svg", "HELLO", "WELCOME", "DATA 0+11", "link 1 is cut", "client", "server", "connecting", "</svg>"] {
        assert!(text.contains(part), "`{part}` is missing");
    }
}

#[test]
fn the_result_for_people_says_what_happened() {
    let ended = Tool::run(&["sim", "--interval", "1000", "--cut-every", "300"], b"");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let text = ended.stdout.join("\n");
    for part in ["1000 delivered", "0 undelivered", "latency", "sent again", "cut 3 times"] {
        assert!(text.contains(part), "`{part}` is missing: {text}");
    }
}

#[test]
fn the_result_for_people_says_that_nothing_was_delivered() {
    let ended = Tool::run(&["sim", "--link", "datagram", "--messages", "10", "--loss", "1"], b"");
    let text = ended.stdout.join("\n");
    assert!(text.contains("nothing was delivered, 10 undelivered"), "{text}");
    for part in ["latency", "first write", "%"] {
        assert!(!text.contains(part), "`{part}` says nothing here: {text}");
    }
}
