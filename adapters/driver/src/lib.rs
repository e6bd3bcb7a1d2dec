//! What the adapters of [`steadfast`] to async runtimes share.
//!
//! Applications use `steadfast-tokio` or `steadfast-smol`, which implement the small trait [`runtime::Runtime`] and
//! re-export everything here. The handles know no runtime: only dialling, accepting, timers and tasks need one.
//!
//! Every future is cancellation-safe, and its documentation says what that means for it.

mod alarm;
mod any_link;
mod ask;
mod bind;
mod buffer;
mod byte_lane;
mod changes;
mod client;
mod clock;
mod connector;
mod dial;
mod driver;
mod error;
mod halves;
mod handle;
mod lane;
mod link;
mod listener;
mod random;
pub mod runtime;
mod sent;
mod server;
mod signals;
mod socket;
mod tls;
mod udp;
mod url;
mod wait;
mod wait_list;

pub use ask::{Ask, AskStream, Received};
pub use byte_lane::ByteLane;
pub use changes::{Change, Changes};
pub use connector::Connector;
pub use error::{AskError, BindError, ConnectError, NoRandomness, NotConfirmed, ReadyError, SendConfirmedError};
pub use halves::{RecvHalf, SendHalf};
pub use lane::{AnyLane, Lane};
pub use listener::{Incoming, Listener, ListenerBuilder};
/// TLS, for configurations of one's own.
pub use rustls;
pub use sent::Sent;
pub use socket::{Close, Finish, Socket};
/// The core: the machine, its configuration, its messages and codes.
pub use steadfast;
pub use steadfast::{
    Bytes, CloseReason, Closed, Code, Config, ConfigError, Fate, GoingAway, Incarnation, LaneError, LaneId, LaneKind,
    LaneOptions, LinkLoss, Message, OnLoss, OpenGone, ProtocolCode, SendError, SendErrorKind, SendId, SendOptions,
    ServerConfig, SessionId, SessionLost, State, Stats, Unconfirmed,
};
pub use tls::{TlsClient, TlsError, TlsServer, is_certificate_refused};
pub use url::{Url, UrlError, UrlProblem};
