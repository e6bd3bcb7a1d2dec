//! Addresses at which nobody listens yet.

use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

/// A loopback address that is kept from everybody else: connections are refused until somebody listens there.
pub struct Reserved {
    address: SocketAddr,
    _socket: Socket,
}

impl Default for Reserved {
    /// A free port.
    ///
    /// # Panics
    /// When there is none.
    fn default() -> Reserved {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // Others that set this, too, may listen at the address, because this one does not.
        socket.set_reuse_address(true).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        let address = socket.local_addr().expect("bound").as_socket().expect("an IP address");
        Reserved { address, _socket: socket }
    }
}

impl Reserved {
    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as sockets know it.
    pub fn url(&self) -> String {
        format!("tcp://{}", self.address)
    }
}
