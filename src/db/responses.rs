//! Responses that clients asked to keep. A row is found only by the client that owns it.

use diesel::prelude::*;

use super::{DbConnection, MAX_PRUNE_STEP, schema::responses};

/// Answers that one conversation may have, and the bytes that it may hold: what follows a longer one is refused.
const LONGEST_CHAIN: usize = 1_000;
const LARGEST_CHAIN: usize = 64 * 1024 * 1024;

/// A response at rest.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = responses, treat_none_as_default_value = false)]
pub struct StoredResponse {
    /// `resp_` and a UUID of version 7 in 32 hexadecimal digits, which makes ids sort by time.
    pub id: String,
    /// Names the client's token, and is of no use without the encryption key.
    pub owner: String,
    /// The response that this one followed.
    pub previous_id: Option<String>,
    /// JSON as the API tells it, with the encrypted content of its items.
    pub response: String,
    /// JSON list of the items that it was asked with, without those of the responses before.
    pub input: String,
}

/// A conversation, oldest response first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chain {
    Whole(Vec<StoredResponse>),
    /// One of its responses is not there, or another client's.
    Broken {
        missing: String,
    },
    TooLong,
}

pub fn insert_response(conn: &mut DbConnection, row: &StoredResponse) -> QueryResult<()> {
    diesel::insert_into(responses::table).values(row).execute(conn).map(drop)
}

/// `None` when there is none, or when it is another client's.
pub fn find_response(conn: &mut DbConnection, owner: &str, id: &str) -> QueryResult<Option<StoredResponse>> {
    let row = responses::table.find(id).filter(responses::owner.eq(owner));
    row.select(StoredResponse::as_select()).first(conn).optional()
}

/// The conversation that ends with `id`, by whatever way its rows are found.
pub fn find_chain(
    owner: &str,
    id: &str,
    mut find: impl FnMut(&str) -> QueryResult<Option<StoredResponse>>,
) -> QueryResult<Chain> {
    let (mut chain, mut next, mut bytes) = (Vec::new(), Some(id.to_owned()), 0);
    while let Some(id) = next {
        let Some(row) = find(&id)?.filter(|row| row.owner == owner) else {
            return Ok(Chain::Broken { missing: id });
        };
        bytes += row.response.len() + row.input.len();
        if chain.len() == LONGEST_CHAIN || bytes > LARGEST_CHAIN {
            return Ok(Chain::TooLong);
        }
        next = row.previous_id.clone();
        chain.push(row);
    }
    chain.reverse();
    Ok(Chain::Whole(chain))
}

/// Answers whether there was one.
pub fn delete_response(conn: &mut DbConnection, owner: &str, id: &str) -> QueryResult<bool> {
    let row = responses::table.find(id).filter(responses::owner.eq(owner));
    diesel::delete(row).execute(conn).map(|deleted| deleted > 0)
}

/// Deletes at most `limit` (up to 10,000) of the rows from before `cutoff_ms`, oldest first; one small step, as with logs.
pub fn delete_older_than(conn: &mut DbConnection, cutoff_ms: i64, limit: u32) -> QueryResult<usize> {
    // A UUID of version 7 begins with 48 bits of Unix milliseconds. Source: RFC 9562, section 5.7.
    let first_kept = format!("resp_{:012x}", cutoff_ms.max(0));
    conn.immediate_transaction(|conn| {
        let ids: Vec<String> = responses::table
            .filter(responses::id.lt(first_kept))
            .order(responses::id)
            .limit(limit.min(MAX_PRUNE_STEP).into())
            .select(responses::id)
            .load(conn)?;
        diesel::delete(responses::table.filter(responses::id.eq_any(ids))).execute(conn)
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::db::test_database;

    const START_MS: i64 = 1_790_000_000_000;

    pub(crate) fn row(n: i64, previous: Option<i64>) -> StoredResponse {
        StoredResponse {
            id: id(n),
            owner: "allowed-1".to_owned(),
            previous_id: previous.map(id),
            response: format!("{{\"n\":{n}}}"),
            input: "[]".to_owned(),
        }
    }

    pub(crate) fn id(n: i64) -> String {
        format!("resp_{:012x}70008000{n:012}", START_MS + n)
    }

    #[test]
    fn only_its_owner_finds_and_deletes_a_response() {
        let (database, _dir) = test_database();
        database.write_blocking(|conn| insert_response(conn, &row(1, None))).unwrap();
        let find =
            |owner: &'static str| database.read_blocking(move |conn| find_response(conn, owner, &id(1)));
        let delete =
            |owner: &'static str| database.write_blocking(move |conn| delete_response(conn, owner, &id(1)));

        assert_eq!(find("allowed-2").unwrap(), None);
        assert!(!delete("allowed-2").unwrap());
        assert_eq!(find("allowed-1").unwrap(), Some(row(1, None)));
        assert!(delete("allowed-1").unwrap());
        assert_eq!(find("allowed-1").unwrap(), None);
    }

    #[test]
    fn a_conversation_is_read_from_its_beginning_and_has_one_owner() {
        let rows = [row(1, None), row(2, Some(1)), row(3, Some(2))];
        let find = |wanted: &str| Ok(rows.iter().find(|row| row.id == wanted).cloned());

        let chain = |owner: &str, n: i64| find_chain(owner, &id(n), find).unwrap();

        assert_eq!(chain("allowed-1", 3), Chain::Whole(rows.to_vec()));
        assert_eq!(chain("allowed-2", 3), Chain::Broken { missing: id(3) });
        assert_eq!(chain("allowed-1", 4), Chain::Broken { missing: id(4) });
    }

    #[test]
    fn a_conversation_without_end_is_too_long() {
        let own_successor =
            |id: &str| Ok(Some(StoredResponse { previous_id: Some(id.to_owned()), ..row(1, None) }));

        assert_eq!(find_chain("allowed-1", &id(1), own_successor).unwrap(), Chain::TooLong);
    }

    #[test]
    fn old_rows_are_deleted_in_steps() {
        let (database, _dir) = test_database();
        let rows = (0..5).map(|n| row(n, None));
        rows.for_each(|row| database.write_blocking(|conn| insert_response(conn, &row)).unwrap());
        let delete = |limit| database.write_blocking(|conn| delete_older_than(conn, START_MS + 3, limit));

        assert_eq!([delete(2).unwrap(), delete(2).unwrap(), delete(2).unwrap()], [2, 1, 0]);
        let left = database.read_blocking(|conn| responses::table.count().get_result::<i64>(conn));
        assert_eq!(left.unwrap(), 2);
    }
}
