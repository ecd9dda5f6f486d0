//! The ground floor of a node's processes: what the supervisor, its children and the admin server all speak of, and which knows
//! none of them.

mod addresses;
mod board;
mod order;
mod signals;

pub(crate) use addresses::{
    Addresses, FILE as ADDRESSES_FILE, Port, advertised, is_here, is_host, local, parse as parse_address,
};
pub(crate) use board::{Board, ChildView, Kind, PIDS, State, View};
#[cfg(test)]
pub(crate) use order::example;
pub(crate) use order::{Handed, Line, Order, ParentLine, Reached};
pub(crate) use signals::Signals;
