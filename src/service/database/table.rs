//! The table that the expensive operation reads: what has to be in it, and whether it is ours.
//!
//! Speaks no dialect: the two databases ask for what they have, and it is judged here.

/// Rows of the table.
pub(super) const ROWS: i64 = 2_000;

/// What a database has under the name of the table.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Table {
    Absent,
    /// Ours by its columns, without a row.
    Empty,
    Complete,
}

/// What is called like our table is another one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// It is no table, or has other columns.
    #[error("there is a {found} where it would be a {expected}")]
    Columns {
        /// What is there, such as `table (name TEXT)`.
        found: String,
        /// What ours is.
        expected: &'static str,
    },
    /// It has the columns, but not the rows.
    #[error("{ours} of its {rows}{more} rows are the program's, which has {ROWS}")]
    Rows {
        /// How many rows were looked at.
        rows: i64,
        /// How many of them are the program's.
        ours: i64,
        /// `+` where there are more rows than were looked at.
        more: &'static str,
    },
}

impl Table {
    /// Judges by the columns, where there are any.
    ///
    /// # Errors
    /// [`Foreign::Columns`]
    pub(super) fn of_columns(found: Option<String>, expected: &'static str) -> Result<Self, Foreign> {
        match found {
            None => Ok(Self::Absent),
            Some(found) if found == expected => Ok(Self::Empty),
            Some(found) => {
                let found: String = found.chars().take(200).flat_map(char::escape_debug).collect();
                Err(Foreign::Columns { found, expected })
            }
        }
    }

    /// Judges by how many of the first [`ROWS`] + 1 rows there are, and how many of them are ours.
    ///
    /// # Errors
    /// [`Foreign::Rows`]
    pub(super) fn of_rows(rows: i64, ours: i64) -> Result<Self, Foreign> {
        match (rows, ours) {
            (0, _) => Ok(Self::Empty),
            (ROWS, ROWS) => Ok(Self::Complete),
            _ => Err(Foreign::Rows { rows: rows.min(ROWS), ours, more: if rows > ROWS { "+" } else { "" } }),
        }
    }
}
