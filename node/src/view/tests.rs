//! Tests of the view; each file has its subject.

mod routes;
