//! Orders that may be repeated: whoever did not get an answer asks again, through whatever door and at whatever time, and pays
//! once.

mod interleaved;
mod moves;
mod rows;
mod socket;
mod vendors;
