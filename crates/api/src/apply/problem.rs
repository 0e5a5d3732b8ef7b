//! What is wrong with an object in the eyes of apply.

use std::fmt;

use super::element::Element;

/// Complaints with the paths they are about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Problems(Vec<(String, String)>);

impl Problems {
    pub(super) fn one(message: impl Into<String>) -> Self {
        Self(vec![(String::new(), message.into())])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The same complaints, one step further up.
    pub(super) fn below(mut self, element: &Element<'_>) -> Self {
        for (path, _) in &mut self.0 {
            path.insert_str(0, &element.to_string());
        }
        self
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |f: &mut fmt::Formatter<'_>, (path, message): &(String, String)| {
            if path.is_empty() { f.write_str(message) } else { write!(f, "{path}: {message}") }
        };
        match self.0.as_slice() {
            [only] => one(f, only),
            all => {
                f.write_str("errors:")?;
                for problem in all {
                    f.write_str("\n  ")?;
                    one(f, problem)?;
                }
                Ok(())
            }
        }
    }
}
