//! A whole data plane in this process, against a controller that only says what it is told to say.

mod controller;
mod later;
mod roles;
mod whole;
