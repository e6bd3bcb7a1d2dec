//! Prints what clients send, and answers what they ask.
use steadfast_tokio::{Listener, Received};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or("tcp://127.0.0.1:7000".into());
    let listener = Listener::bind(&url).await?;
    println!("{}", listener.local_url());
    while let Some(incoming) = listener.accept().await {
        let Ok(socket) = incoming.accept() else { continue };
        tokio::spawn(async move {
            // `None` when the client has finished or the socket has ended; never because a link broke.
            while let Some(received) = socket.recv().await {
                match received {
                    Received::Message(message) => println!("{}", message.payload.escape_ascii()),
                    Received::Ask(ask) => drop(ask.reply("pong").await),
                }
            }
        });
    }
    Ok(())
}
