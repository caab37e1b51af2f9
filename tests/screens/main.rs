//! What the real binary shows on the screen, and the small ways that need nothing else of the house.

mod doctor;
mod hostile;
mod init;
mod package;
mod readme;
mod screens;
mod simulate;
