//! The gateway as its clients meet it: over HTTP, with an upstream that follows a script.

mod anthropic;
mod blame;
mod chat;
mod clients;
mod continuation;
mod crash;
mod failover;
mod hangup;
mod harness;
mod health;
mod hedging;
mod logs;
mod media;
mod native;
mod openai;
mod passthrough;
mod resources;
mod restart;
mod secrets;
mod services;
mod stop;
mod storm;
mod streaming;
mod switches;
mod timeouts;
mod uploads;
