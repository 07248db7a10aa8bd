//! What a list is asked for: filters, order, page; and in which words Masakari refuses it.

use super::instant::Instant;

/// The service never gives more at once.
const MOST: usize = 1_000;

/// The parameters of an address, decoded, in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads what stands behind the `?`. What is no escape stays as it is, and what is no UTF-8 becomes the sign for it.
    pub(super) fn read(query: Option<&str>) -> Self {
        let pairs = query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (unescaped(name), unescaped(value))
                })
                .collect(),
        )
    }

    /// The last value of this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).last()
    }

    fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// `%41+b` is `A b`.
pub(super) fn unescaped(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    while let Some((&first, more)) = rest.split_first() {
        rest = more;
        let escaped = match (first, more) {
            (b'%', [high, low, ..]) => digit(high).zip(digit(low)),
            _ => None,
        };
        match (first, escaped) {
            (b'+', _) => plain.push(b' '),
            (_, Some((high, low))) => {
                plain.push(high << 4 | low);
                rest = &rest[2..];
            }
            (byte, None) => plain.push(byte),
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// A column to sort by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// The order in which they were accepted: the number, and the time with it.
    Number,
    Type,
    Generated,
    Updated,
    Uuid,
    Payload,
    Status,
    Host,
    Segment,
    /// The same in all of them: nothing is ever deleted, and nothing has a message.
    Same,
}

impl Column {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "created_at" | "id" => Self::Number,
            "type" => Self::Type,
            "generated_time" => Self::Generated,
            "updated_at" => Self::Updated,
            "notification_uuid" => Self::Uuid,
            "payload" => Self::Payload,
            "status" => Self::Status,
            "source_host_uuid" => Self::Host,
            "failover_segment_uuid" => Self::Segment,
            "deleted" | "deleted_at" | "message" => Self::Same,
            _ => return None,
        })
    }
}

/// A column, and which end comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sorting {
    pub(super) column: Column,
    pub(super) descending: bool,
}

/// Where a page begins, how long it is, and how it is sorted by names of columns that nobody has looked at yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) limit: usize,
    pub(super) marker: Option<String>,
    /// Names of columns, each with whether its greatest value comes first.
    pub(super) sort: Vec<(String, bool)>,
}

impl Page {
    /// Reads the parameters in the order in which the service looks at them; what it says of a sort depends on the limit.
    ///
    /// # Errors
    /// What the service says.
    pub(super) fn read(parameters: &Parameters) -> Result<Self, String> {
        let mut limit = MOST;
        for name in ["limit", "page_size"] {
            let Some(text) = parameters.get(name) else {
                continue;
            };
            let Some(is_negative) = integer(text) else {
                return Err(format!("Invalid input received: {name} must be an integer"));
            };
            if is_negative {
                return Err(format!("Invalid input received: {name} must be >= 0"));
            }
            if name == "limit" {
                limit = digits(text).parse().map_or(MOST, |asked: usize| asked.min(MOST));
            }
        }
        Ok(Self {
            limit,
            marker: parameters.get("marker").map(str::to_owned),
            sort: Vec::new(),
        })
    }

    /// Reads how the list is sorted. With a limit of 0 the service looks at none of it.
    ///
    /// # Errors
    /// What the service says.
    pub(super) fn sorted(mut self, parameters: &Parameters) -> Result<Self, String> {
        if self.limit == 0 {
            return Ok(self);
        }
        let mut keys: Vec<&str> = parameters.all("sort_key").map(str::trim).collect();
        let mut directions: Vec<&str> = parameters.all("sort_dir").map(str::trim).collect();
        if keys.is_empty() {
            keys.push("created_at");
        }
        if directions.is_empty() {
            directions.push("desc");
        }
        if directions
            .iter()
            .any(|direction| !matches!(*direction, "asc" | "desc"))
        {
            return Err("Invalid input received: Unknown sort direction, must be 'asc' or 'desc'".to_owned());
        }
        if directions.len() > keys.len() {
            return Err("Invalid input received: Sort direction size exceeds sort key size".to_owned());
        }
        // The first direction is that of every key that has none of its own.
        let first = directions[0];
        self.sort = keys
            .into_iter()
            .zip(directions.into_iter().chain(std::iter::repeat(first)))
            .map(|(key, direction)| (key.to_owned(), direction == "desc"))
            .collect();
        Ok(self)
    }

    /// The columns to sort by. The number comes last, in the first direction, so that no two are alike.
    ///
    /// # Errors
    /// What the service says of a column that it does not have.
    pub(super) fn columns(&self) -> Result<Vec<Sorting>, String> {
        let mut columns = Vec::new();
        for (name, descending) in &self.sort {
            let column = Column::named(name)
                .ok_or_else(|| format!("InvalidSortKey('Sort key supplied is invalid: {name}')"))?;
            columns.push(Sorting {
                column,
                descending: *descending,
            });
        }
        columns.push(Sorting {
            column: Column::Number,
            descending: self.sort.first().is_none_or(|(_, descending)| *descending),
        });
        // Nothing is left to decide behind a number.
        let length = columns
            .iter()
            .position(|sorting| sorting.column == Column::Number)
            .map_or(columns.len(), |place| place + 1);
        columns.truncate(length);
        Ok(columns)
    }
}

/// Which notifications are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) status: Option<String>,
    pub(super) host: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) since: Option<Instant>,
}

impl Filter {
    /// Reads the parameters.
    ///
    /// # Errors
    /// What the service says.
    pub(super) fn read(parameters: &Parameters) -> Result<Self, String> {
        let text = |name| parameters.get(name).map(str::to_owned);
        let since = match parameters.get("generated-since") {
            None => None,
            Some(text) => {
                Some(Instant::parse(text).ok_or_else(|| "Invalid generated-since value".to_owned())?)
            }
        };
        Ok(Self {
            status: text("status"),
            host: text("source_host_uuid"),
            kind: text("type"),
            since,
        })
    }
}

/// Whether a number is negative; none where it is no integer as Python reads one.
fn integer(text: &str) -> Option<bool> {
    let text = text.trim();
    let (is_negative, number) = match text.strip_prefix(['-', '+']) {
        Some(number) => (text.starts_with('-'), number),
        None => (false, text),
    };
    let is_number = !number.is_empty()
        && number
            .split('_')
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    let is_zero = number.bytes().all(|byte| matches!(byte, b'0' | b'_'));
    is_number.then_some(is_negative && !is_zero)
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(query: &str) -> Result<Page, String> {
        let parameters = Parameters::read(Some(query));
        Page::read(&parameters)?.sorted(&parameters)
    }

    #[test]
    fn what_is_refused_is_refused_in_the_services_words() {
        for (query, refusal) in [
            ("limit=abc", "Invalid input received: limit must be an integer"),
            ("limit=", "Invalid input received: limit must be an integer"),
            ("limit=1_", "Invalid input received: limit must be an integer"),
            ("limit=-1", "Invalid input received: limit must be >= 0"),
            (
                "limit=0&page_size=x",
                "Invalid input received: page_size must be an integer",
            ),
            (
                "sort_dir=up",
                "Invalid input received: Unknown sort direction, must be 'asc' or 'desc'",
            ),
            (
                "sort_dir=asc&sort_dir=desc",
                "Invalid input received: Sort direction size exceeds sort key size",
            ),
        ] {
            assert_eq!(page(query), Err(refusal.to_owned()), "{query}");
        }
        assert_eq!(
            page("sort_key=uuid").and_then(|page| page.columns()),
            Err("InvalidSortKey('Sort key supplied is invalid: uuid')".to_owned())
        );
        let parameters = Parameters::read(Some("generated-since=x"));
        assert_eq!(
            Filter::read(&parameters),
            Err("Invalid generated-since value".to_owned())
        );
    }

    #[test]
    fn pages_and_orders_are_read() {
        let read = page("limit=+1_0&marker=7&limit=%205").expect("a page");
        assert_eq!((read.limit, read.marker.as_deref()), (5, Some("7")));
        assert_eq!(
            page("limit=999999999999999999999").map(|page| page.limit),
            Ok(MOST)
        );
        assert_eq!(page("limit=0&sort_dir=up").map(|page| page.limit), Ok(0));
        let columns = |query| page(query).and_then(|page| page.columns());
        let sorting = |column, descending| Sorting { column, descending };
        assert_eq!(columns(""), Ok(vec![sorting(Column::Number, true)]));
        assert_eq!(
            columns("sort_key=type&sort_key=status&sort_dir=asc"),
            Ok(vec![
                sorting(Column::Type, false),
                sorting(Column::Status, false),
                sorting(Column::Number, false)
            ])
        );
        assert_eq!(
            columns("sort_key=type&sort_key=id&sort_dir=asc&sort_dir=desc&sort_key=status"),
            Ok(vec![sorting(Column::Type, false), sorting(Column::Number, true)])
        );
    }

    #[test]
    fn filters_are_read_and_the_last_one_counts() {
        let parameters = Parameters::read(Some(
            "status=new&status=running&type=VM&generated_since=x&generated-since=2026-11-21T23:50:00&source_host_uuid=a%2Db",
        ));
        let filter = Filter::read(&parameters).expect("a filter");
        assert_eq!(
            filter,
            Filter {
                status: Some("running".to_owned()),
                host: Some("a-b".to_owned()),
                kind: Some("VM".to_owned()),
                since: Instant::parse("2026-11-21T23:50:00"),
            }
        );
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic(
            query in "((limit|page_size|marker|sort_key|sort_dir|status|type|generated-since)?(=|&|%|%4|%zz|\\+|-|_|[0-9]|asc|desc|id|\\PC)){0,12}"
        ) {
            let parameters = Parameters::read(Some(&query));
            let _ = Filter::read(&parameters);
            if let Ok(page) = page(&query) {
                prop_assert!(page.limit <= MOST);
                if let Ok(columns) = page.columns() && page.limit > 0 {
                    prop_assert_eq!(columns.last().map(|last| last.column), Some(Column::Number));
                }
            }
        }
    }
}
