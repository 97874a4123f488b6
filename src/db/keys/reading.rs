//! Keys as they come back from the database, opened.

use diesel::{connection::DefaultLoadingMode, prelude::*};

use super::{ADDED, CHUNK, FiguresRow, PlacementRow, REMOVED, context, keys, switches::SwitchesRow};
use crate::{
    db::DbConnection,
    domain::{
        key::{ApiKey, KeyAbout, KeyFigures, KeyId, KeyOrigin, KeySwitches},
        placement::KeyPlacement,
    },
    secrets::Sealer,
};

/// A key as it comes back from the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    pub id: KeyId,
    pub key: ApiKey,
    pub placement: KeyPlacement,
    pub about: KeyAbout,
    /// JSON of the last checkpoint; opaque here.
    pub health: Option<String>,
    pub health_at_ms: Option<i64>,
    pub switches: KeySwitches,
    pub figures: KeyFigures,
}

/// Keys, and the ids of those that the encryption key in use does not open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadedKeys {
    pub keys: Vec<StoredKey>,
    pub unreadable: Vec<KeyId>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = keys)]
pub(super) struct Row {
    pub(super) id: i64,
    sealed: Vec<u8>,
    origin: String,
    created_at_ms: i64,
    label: Option<String>,
    tags: Option<String>,
    health: Option<String>,
    health_at_ms: Option<i64>,
    #[diesel(embed)]
    placement: PlacementRow,
    #[diesel(embed)]
    switches: SwitchesRow,
    #[diesel(embed)]
    figures: FiguresRow,
}

/// Every key, oldest first. A row that cannot be opened is told by its id and stops nothing.
pub fn load_keys(conn: &mut DbConnection, sealer: &Sealer) -> QueryResult<LoadedKeys> {
    let mut loaded = LoadedKeys::default();
    loaded.unreadable = read_keys(conn, sealer, |key| loaded.keys.push(key))?;
    Ok(loaded)
}

/// Tells every key, oldest first, while it reads: a large pool need not lie in memory twice. Returns the ids of rows that
/// cannot be opened.
pub fn read_keys(
    conn: &mut DbConnection,
    sealer: &Sealer,
    mut tell: impl FnMut(StoredKey),
) -> QueryResult<Vec<KeyId>> {
    let rows = keys::table
        .filter(keys::origin.ne(REMOVED).and(keys::deleted_at_ms.is_null()))
        .order(keys::id)
        .select(Row::as_select())
        .load_iter::<Row, DefaultLoadingMode>(conn)?;
    let mut unreadable = Vec::new();
    for row in rows {
        match open_row(sealer, row?) {
            Ok(key) => tell(key),
            Err(id) => unreadable.push(id),
        }
    }
    Ok(unreadable)
}

/// The first keys with higher ids than this one.
pub fn load_keys_behind(
    conn: &mut DbConnection,
    sealer: &Sealer,
    key: KeyId,
    limit: usize,
) -> QueryResult<LoadedKeys> {
    let rows: Vec<Row> = keys::table
        .filter(keys::origin.ne(REMOVED).and(keys::deleted_at_ms.is_null()))
        .filter(keys::id.gt(key.0))
        .order(keys::id)
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .select(Row::as_select())
        .load(conn)?;
    Ok(open_all(sealer, rows))
}

/// Those of these keys that there are.
pub fn load_some_keys(conn: &mut DbConnection, sealer: &Sealer, ids: &[KeyId]) -> QueryResult<LoadedKeys> {
    let mut found = Vec::new();
    for chunk in ids.chunks(CHUNK) {
        let here = keys::table
            .filter(keys::id.eq_any(chunk.iter().map(|id| id.0)))
            .filter(keys::origin.ne(REMOVED).and(keys::deleted_at_ms.is_null()));
        found.extend(here.order(keys::id).select(Row::as_select()).load(conn)?);
    }
    Ok(open_all(sealer, found))
}

/// Keys of rows that have been read.
pub(super) fn open_all(sealer: &Sealer, rows: Vec<Row>) -> LoadedKeys {
    let mut loaded = LoadedKeys::default();
    for row in rows {
        match open_row(sealer, row) {
            Ok(key) => loaded.keys.push(key),
            Err(id) => loaded.unreadable.push(id),
        }
    }
    loaded
}

/// The key, or the id of a row that cannot be opened.
fn open_row(sealer: &Sealer, row: Row) -> Result<StoredKey, KeyId> {
    let id = KeyId(row.id);
    let key = open(sealer, &row).ok_or(id)?;
    Ok(StoredKey {
        id,
        key,
        about: about(row.origin, row.created_at_ms, row.label, row.tags),
        placement: row.placement.into(),
        health: row.health,
        health_at_ms: row.health_at_ms,
        switches: row.switches.into(),
        figures: row.figures.into(),
    })
}

fn about(origin: String, created_at_ms: i64, label: Option<String>, tags: Option<String>) -> KeyAbout {
    let origin = if origin == ADDED { KeyOrigin::Admin } else { KeyOrigin::Config };
    let tags = tags.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
    KeyAbout { label, tags, origin, created_at_ms }
}

fn open(sealer: &Sealer, row: &Row) -> Option<ApiKey> {
    let plain = sealer.open(&row.sealed, &context(row.id)).ok()?;
    ApiKey::parse(str::from_utf8(&plain).ok()?).ok()
}
