//! RMCP+ session with one BMC: handshake, sealing, retransmission (IPMI v2.0 rev 1.1 §13).

pub mod secret;
