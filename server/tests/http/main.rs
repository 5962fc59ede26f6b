//! Starts the built server on a loopback port and speaks HTTP to it.

mod common;
mod joining;
mod limits;
mod lists;
mod messages;
mod pairing;
mod push;
mod push_service;
mod running;
mod tls;
mod web;
mod web_export;
