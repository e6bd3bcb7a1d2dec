//! Sends a message, asks a question, and sees both confirmed.
use steadfast_tokio::{CloseReason, connect};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or("tcp://127.0.0.1:7000".into());
    let socket = connect(&url)?; // Returns at once: the server may come later.
    socket.send("hello").await?; // Accepted: it arrives once, or comes back as unconfirmed.
    let answer = socket.ask("ping").await?; // Answered over whichever link lives by then.
    println!("{}", answer.payload.escape_ascii());
    socket.confirmed().await?; // The server's application has taken all of it.
    socket.close(CloseReason::app(0, "done")).await;
    Ok(())
}
