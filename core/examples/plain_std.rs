//! The state machine in plain `std::net` and threads, without a runtime: a client sends messages to an echo server, its
//! link is shut down after every 1,000 of them, and every message comes back once and in order.
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use std::{collections::BTreeMap, fs::File, thread};

use steadfast::*;

const MESSAGES: u64 = 20_000;
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn now() -> Time {
    Time::from_micros(START.elapsed().as_micros() as u64)
}

enum Input {
    Up(TcpStream),
    Bytes(LinkId, Vec<u8>),
    Down(LinkId),
}

/// The outside of one machine: its links and what comes from them.
struct Outside {
    links: BTreeMap<LinkId, TcpStream>,
    last: u64,
    sender: Sender<Input>,
    inputs: Receiver<Input>,
}

impl Outside {
    fn new() -> Outside {
        let (sender, inputs) = mpsc::channel();
        Outside { links: BTreeMap::new(), last: 0, sender, inputs }
    }

    /// Names a link and reads from it in a thread of its own.
    fn add(&mut self, stream: TcpStream) -> io::Result<LinkId> {
        stream.set_nodelay(true)?;
        self.last += 1;
        let (link, mut reader, sender) = (LinkId(self.last), stream.try_clone()?, self.sender.clone());
        self.links.insert(link, stream);
        thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                let _ = sender.send(Input::Bytes(link, buffer[..count].to_vec()));
            }
            sender.send(Input::Down(link))
        });
        Ok(link)
    }
}

/// Does what the machine wants done with links, then feeds it the next input.
macro_rules! turn {
    ($machine:ident, $outside:ident, $address:ident => $dial:expr) => {
        while let Some(action) = $machine.poll_link_action() {
            match action {
                LinkAction::Dial($address) => $dial,
                LinkAction::CancelDial => {} // Dialling blocks here: none is ever under way.
                LinkAction::Flush(link) | LinkAction::HangUp(link) => {
                    let Some(mut stream) = $outside.links.get(&link) else { continue };
                    while let Some(transmit) = $machine.poll_transmit(now(), link) {
                        // A failure ends the link, which its reader tells.
                        let _ = transmit.segments().iter().try_for_each(|bytes| stream.write_all(bytes));
                    }
                    if action == LinkAction::HangUp(link) {
                        $outside.links.remove(&link).map(|stream| stream.shutdown(Shutdown::Both));
                    }
                }
            }
        }
        let wait = $machine.poll_timeout().map_or(Duration::from_secs(3600), |deadline| deadline.at.since(now()));
        match $outside.inputs.recv_timeout(wait) {
            Ok(Input::Up(stream)) => $machine.handle_link_up(now(), $outside.add(stream)?, LinkKind::Stream),
            Ok(Input::Bytes(link, bytes)) => $machine.handle_bytes(now(), link, bytes),
            Ok(Input::Down(link)) => $machine.handle_link_down(now(), link),
            Err(_) => $machine.handle_timeout(now()),
        }
    };
}

/// Keeps 100 messages under way, checks what comes back, and cuts its own links.
fn client(mut socket: Socket, mut outside: Outside) -> Result<(), Box<dyn std::error::Error>> {
    let mut next_cut = 1000;
    socket.connect(now());
    loop {
        while let Some(event) = socket.poll_event() {
            match event {
                Event::LinkLost(loss) => println!("{:?} link lost: {}", now(), loss.reason),
                Event::Closed(closed) => return if closed.clean { Ok(()) } else { Err(format!("{closed:?}").into()) },
                _ => {}
            }
        }
        while let Some(Received::Message(echo)) = socket.recv(now(), LaneId::MAIN) {
            assert_eq!(echo.payload, (socket.stats().messages_received - 1).to_string(), "lost, doubled or reordered");
        }
        let (sent, received) = (socket.stats().messages_sent, socket.stats().messages_received);
        for number in sent..MESSAGES.min(received + 100) {
            socket.send(now(), LaneId::MAIN, Message::new(number.to_string()))?;
        }
        if received == MESSAGES {
            socket.close(now(), CloseReason::app(0, "done"));
        } else if received >= next_cut {
            outside.links.values().try_for_each(|link| link.shutdown(Shutdown::Both)).ok();
            next_cut += 1000;
        }
        turn!(socket, outside, address => match TcpStream::connect(&*address) {
            Ok(stream) => outside.sender.send(Input::Up(stream))?,
            Err(error) => socket.handle_dial_failed(now(), &error.to_string()),
        });
    }
}

/// Sends back what it receives.
fn server(mut server: Server, mut outside: Outside) -> io::Result<()> {
    loop {
        while let Some(event) = server.poll_event() {
            match event {
                ServerEvent::Open(request) => drop(server.accept(now(), request.id)),
                ServerEvent::Socket(id, Event::Readable(lane)) => {
                    let Some(socket) = server.socket_mut(id) else { continue };
                    while let Some(Received::Message(message)) = socket.recv(now(), lane) {
                        socket.send(now(), lane, message).map_err(io::Error::other)?;
                    }
                }
                _ => {}
            }
        }
        turn!(server, outside, _address => unreachable!("a server never dials"));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut seeds = [[0; 32]; 2];
    File::open("/dev/urandom")?.read_exact(seeds.as_flattened_mut())?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string().into();
    let machine = Server::new(Arc::new(ServerConfig::default()), seeds[0], now())?;
    let outside = Outside::new();
    let accepted = outside.sender.clone();
    thread::spawn(move || listener.incoming().flatten().try_for_each(|stream| accepted.send(Input::Up(stream))));
    thread::spawn(move || server(machine, outside));
    client(Socket::new(Arc::new(Config::default()), vec![address], Bytes::new(), seeds[1], now())?, Outside::new())?;
    println!("{MESSAGES} messages came back, each once and in order");
    Ok(())
}
