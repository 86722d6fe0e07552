//! What may be done to a resource.

use std::fmt;

/// One thing that may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Read.
    Pull,
    /// Write.
    Push,
    /// Remove.
    Delete,
    /// Everything, what later versions add included. Written `*`.
    All,
}

impl Action {
    /// Every action, in the order they are written.
    pub const ALL: [Action; 4] = [Action::Pull, Action::Push, Action::Delete, Action::All];

    /// How a scope writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Action::Pull => "pull",
            Action::Push => "push",
            Action::Delete => "delete",
            Action::All => "*",
        }
    }

    /// The action that a scope writes so.
    pub fn from_name(name: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.name() == name)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of actions.
///
/// [`Action::All`] holds every other one and stands alone, so that equal sets are equal values. The
/// other three together are less than all.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Actions(u8);

impl Actions {
    /// No action.
    pub const NONE: Actions = Actions(0);

    /// Is the action in the set?
    pub const fn contains(self, action: Action) -> bool {
        self.0 & (action.bit() | Action::All.bit()) != 0
    }

    /// Is nothing in the set?
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in one of the two.
    pub const fn union(self, other: Actions) -> Actions {
        let both = Actions(self.0 | other.0);
        if both.contains(Action::All) { Actions(Action::All.bit()) } else { both }
    }

    /// What is in both.
    pub const fn intersection(self, other: Actions) -> Actions {
        if self.contains(Action::All) {
            other
        } else if other.contains(Action::All) {
            self
        } else {
            Actions(self.0 & other.0)
        }
    }

    /// The actions as a scope writes them: `*` alone when it is there.
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Action::ALL.into_iter().filter(move |action| self.0 & action.bit() != 0)
    }
}

impl From<Action> for Actions {
    fn from(action: Action) -> Actions {
        Actions(action.bit())
    }
}

impl FromIterator<Action> for Actions {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Actions {
        actions.into_iter().fold(Actions::NONE, |all, action| all.union(action.into()))
    }
}

impl fmt::Display for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, action) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", action.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}
