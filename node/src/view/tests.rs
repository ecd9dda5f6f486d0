//! Tests of the view; each file has its subject.

mod controller;
mod following;
mod routes;
