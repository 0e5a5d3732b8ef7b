//! Netlink itself: messages as bytes, and a socket that asks and listens. No meaning of any message lives here.

mod socket;
mod wire;

pub use socket::{Family, Refusal, Socket};
pub use wire::{Attribute, Attributes, Incoming, Message, Messages, flags};
