//! The program as its operator meets it: started with an environment, killed, fed with nonsense.

mod bad_input;
mod configuration;
mod connections;
mod explain;
mod harness;
mod kill;
mod memory;
mod nodes;
mod secrets;
mod settings;
mod shutdown;
