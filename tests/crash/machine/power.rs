//! Power cuts: what was not fsynced is gone.

use std::time::Duration;

use super::life::Trouble;
use crate::campaign::Dice;

/// Soon after the start, while orders come in, and up to when most is done.
pub fn draw(dice: &mut Dice) -> Trouble {
    Trouble::PowerCut { after: Duration::from_millis(40 + dice.below(1_400)) }
}
