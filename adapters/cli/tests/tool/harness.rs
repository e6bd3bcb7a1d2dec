//! Runs the tool and looks at it from outside, each wait bounded by a deadline.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// No wait takes longer; a machine that does other things besides may need a good part of it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A running `steadfast`, ended when dropped.
pub(crate) struct Tool {
    child: Child,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
    notes: Vec<String>,
}

/// What a tool that has ended leaves behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// The lines of standard output that were not taken before.
    pub(crate) stdout: Vec<String>,
    /// All lines of standard error.
    pub(crate) stderr: Vec<String>,
}

pub(crate) fn steadfast(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Tool {
    pub(crate) fn start(args: &[&str]) -> Tool {
        let mut child = steadfast(args).spawn().expect("the tool was built");
        let stdout = lines(child.stdout.take().expect("piped"));
        let stderr = lines(child.stderr.take().expect("piped"));
        Tool { child, stdout, stderr, notes: Vec::new() }
    }

    /// A listening tool and the URL that it has bound.
    pub(crate) fn listen(args: &[&str]) -> (Tool, String) {
        let tool = Tool::start(&[&["listen"], args].concat());
        let url = tool.line();
        (tool, url)
    }

    /// Runs to the end with this input.
    pub(crate) fn run(args: &[&str], input: &[u8]) -> Ended {
        let mut tool = Tool::start(args);
        tool.feed(input.to_vec());
        tool.ended()
    }

    /// Writes to standard input without ending it.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().expect("standard input is still open");
        stdin.write_all(bytes).and_then(|()| stdin.flush()).expect("the tool reads");
    }

    /// Writes and ends standard input, at the pace of the tool.
    pub(crate) fn feed(&mut self, bytes: Vec<u8>) {
        let mut stdin = self.child.stdin.take().expect("standard input is still open");
        // A tool that ends early closes its input; what it says then is what the test looks at.
        thread::spawn(move || stdin.write_all(&bytes));
    }

    /// The next line of standard output.
    pub(crate) fn line(&self) -> String {
        String::from_utf8(self.bytes()).expect("text")
    }

    /// The bytes of the next line of standard output.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self.stdout.recv_timeout(DEADLINE) {
            Ok(line) => line,
            Err(error) => panic!(
                "no line: {error}; on standard error: {:?}",
                self.stderr.try_iter().map(text).collect::<Vec<_>>()
            ),
        }
    }

    /// Waits for a line of standard error with this in it.
    pub(crate) fn note(&mut self, part: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.stderr.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.notes.push(text(line)),
                Err(error) => panic!("no `{part}` on standard error: {error}; there is {:?}", self.notes),
            }
            if let Some(note) = self.notes.last().filter(|note| note.contains(part)) {
                return note.clone();
            }
        }
    }

    /// Sends a signal to this process.
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Nobody reads its standard output any more.
    pub(crate) fn close_output(&mut self) {
        self.stdout = channel().1;
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> Ended {
        let deadline = Instant::now() + DEADLINE;
        let stdout = rest(&self.stdout, deadline);
        let mut stderr = std::mem::take(&mut self.notes);
        stderr.extend(rest(&self.stderr, deadline));
        let code = self.child.wait().expect("it has closed its outputs").code();
        Ended { code, stdout, stderr }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(line: Vec<u8>) -> String {
    String::from_utf8_lossy(&line).into_owned()
}

fn rest(lines: &Receiver<Vec<u8>>, deadline: Instant) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => all.push(text(line)),
            Err(RecvTimeoutError::Disconnected) => return all,
            Err(RecvTimeoutError::Timeout) => panic!("the tool has not ended after {DEADLINE:?}; lines: {all:?}"),
        }
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The address in a `tcp://` or `tls://` URL.
pub(crate) fn address(url: &str) -> &str {
    url.split_once("://").expect("a URL").1
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// A free port and the connections that come to it.
pub(crate) fn accepting() -> (String, Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let (sender, accepted) = channel();
    thread::spawn(move || listener.incoming().flatten().try_for_each(|stream| sender.send(stream)));
    (address, accepted)
}

/// Carries bytes both ways until it is told to stop. Both connections stay open.
pub(crate) fn carry_until(stop: &AtomicBool, one: &TcpStream, other: &TcpStream) {
    let mut buffer = [0; 4096];
    for stream in [one, other] {
        stream.set_read_timeout(Some(Duration::from_millis(5))).expect("a timeout");
    }
    while !stop.load(Ordering::Relaxed) {
        for (mut from, mut to) in [(one, other), (other, one)] {
            if let Ok(count @ 1..) = from.read(&mut buffer) {
                to.write_all(&buffer[..count]).expect("the peer is there");
            }
        }
    }
}

/// A proxy to `server` that cuts each link after about so many bytes to the client, until `cuts` links are cut. Its
/// address, and a receiver that yields once for each cut.
pub(crate) fn cutting_proxy(server: &str, bytes: usize, cuts: usize) -> (String, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let (server, (sender, done)) = (server.to_owned(), channel());
    thread::spawn(move || {
        let mut left = cuts;
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(&server) else { continue };
            let limit = if left == 0 { usize::MAX } else { bytes + 7 * left };
            let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else { continue };
            thread::spawn(move || pump(from_client, server, usize::MAX));
            pump(from_server, client, limit);
            if left > 0 {
                left -= 1;
                let _ = sender.send(());
            }
        }
    });
    (address, done)
}

/// Forwards at most `limit` bytes, then ends both connections.
fn pump(mut from: TcpStream, mut to: TcpStream, mut limit: usize) {
    let mut buffer = [0; 4096];
    while limit > 0 {
        let most = limit.min(buffer.len());
        let Ok(count @ 1..) = from.read(&mut buffer[..most]) else { break };
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
        limit -= count;
    }
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}
