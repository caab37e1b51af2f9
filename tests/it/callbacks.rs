//! Call-backs from the vendor's POST to the job's result, with the simulated vendor, a real store and a whole daemon.

mod deliveries;
mod hostile;
mod house;
mod killed;
mod operators;
mod purged;
mod stored;
