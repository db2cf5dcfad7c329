//! What an operator is told about a configuration that cannot be used: every problem at once, each with its key.

use std::fmt;

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `file:line`, or the flag.
    pub place: String,
    /// The key, with its table: `route[2].timeout`.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub hint: String,
}

/// Everything that is wrong with the configuration; never empty. The process ends with status 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<Problem>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{}: {}: {}", problem.place, problem.key, problem.what)?;
            if !problem.hint.is_empty() {
                write!(f, "\n    hint: {}", problem.hint)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
