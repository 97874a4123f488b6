//! Who owns what lies at Google: the key that made it, and the client for whom it was made.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    ops::Bound,
};

use crate::domain::{client::TokenId, key::KeyId, resource::ResourceName};

/// Files that a client sends within so many milliseconds after the first go to the same key, so that one request can
/// use them together. Those that come later may go elsewhere, or all of a client's requests would end at one key.
const TOGETHER_MS: i64 = 10 * 60 * 1000;

/// The owner of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    pub key: KeyId,
    pub client: TokenId,
    /// When Google forgets it, or we do if Google never does; Unix milliseconds.
    pub expires_at_ms: i64,
}

/// What is known of a resource that a client names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing: any key may be asked.
    Unknown,
    /// It is another client's.
    Foreign,
    Owner(KeyId),
}

/// All resources that are known, at most `capacity`; beyond that the ones that end soonest are forgotten.
#[derive(Debug)]
pub struct Owners {
    capacity: usize,
    /// Whether clients neither see nor use what is another's.
    isolated: bool,
    resources: BTreeMap<ResourceName, Owned>,
    by_end: BTreeSet<(i64, ResourceName)>,
    /// When the files began that a client sends together.
    together_since_ms: HashMap<TokenId, i64>,
}

impl Owners {
    pub fn new(capacity: usize, isolated: bool) -> Self {
        Self {
            capacity: capacity.max(1),
            isolated,
            resources: BTreeMap::new(),
            by_end: BTreeSet::new(),
            together_since_ms: HashMap::new(),
        }
    }

    pub fn isolate(&mut self, isolated: bool) {
        self.isolated = isolated;
    }

    pub fn len(&self) -> usize {
        self.resources.len()
    }

    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    pub fn get(&self, name: &ResourceName) -> Option<&Owned> {
        self.resources.get(name)
    }

    pub fn find(&self, name: &ResourceName, client: &TokenId, now_ms: i64) -> Found {
        match self.resources.get(name).filter(|owned| owned.expires_at_ms > now_ms) {
            None => Found::Unknown,
            Some(owned) if self.isolated && owned.client != *client => Found::Foreign,
            Some(owned) => Found::Owner(owned.key),
        }
    }

    /// Takes in that the resource exists. What is known stays its first client's. Answers whether that is news, and
    /// which resource was forgotten for it.
    pub fn insert(
        &mut self,
        name: &ResourceName,
        mut owned: Owned,
        now_ms: i64,
    ) -> (bool, Option<ResourceName>) {
        if let Some(known) = self.resources.get(name) {
            if known.expires_at_ms > now_ms {
                owned.client = known.client.clone();
            }
            if *known == owned {
                return (false, None);
            }
        }
        self.remove(name);
        let forgotten =
            (self.resources.len() >= self.capacity).then(|| self.by_end.first().cloned()).flatten();
        if let Some((_, first)) = &forgotten {
            self.remove(first);
        }
        self.by_end.insert((owned.expires_at_ms, name.clone()));
        self.resources.insert(name.clone(), owned);
        (true, forgotten.map(|(_, name)| name))
    }

    /// Answers whether it was known.
    pub fn remove(&mut self, name: &ResourceName) -> bool {
        let Some(owned) = self.resources.remove(name) else { return false };
        self.by_end.remove(&(owned.expires_at_ms, name.clone()));
        true
    }

    /// Forgets what has ended.
    pub fn expire(&mut self, now_ms: i64) {
        while let Some((_, name)) = self.by_end.first().filter(|(end, _)| *end <= now_ms).cloned() {
            self.remove(&name);
        }
        self.together_since_ms.retain(|_, since| now_ms - *since < TOGETHER_MS);
    }

    /// Up to `size` names of a collection that the client may see, in their order, from behind that name on.
    pub fn page(
        &self,
        collection: &str,
        client: &TokenId,
        behind: Option<&ResourceName>,
        size: usize,
        now_ms: i64,
    ) -> Vec<ResourceName> {
        let begin = format!("{collection}/");
        let from = behind.map_or(Bound::Included(&*begin), |name| Bound::Excluded(name.as_str()));
        self.resources
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(name, _)| name.as_str().starts_with(&begin))
            .filter(|(name, _)| name.collection() == collection)
            .filter(|(name, _)| matches!(self.find(name, client, now_ms), Found::Owner(_)))
            .map(|(name, _)| name.clone())
            .take(size)
            .collect()
    }

    /// The same number for all files that a client sends together.
    pub fn together(&mut self, client: &TokenId, now_ms: i64) -> u64 {
        let since = self.together_since_ms.entry(client.clone()).or_insert(now_ms);
        if now_ms - *since >= TOGETHER_MS {
            *since = now_ms;
        }
        let mut hasher = DefaultHasher::new();
        (client, *since).hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ResourceName {
        ResourceName::parse(text).unwrap()
    }

    fn client(text: &str) -> TokenId {
        TokenId::new(text)
    }

    fn owned(key: i64, of: &str, expires_at_ms: i64) -> Owned {
        Owned { key: KeyId(key), client: client(of), expires_at_ms }
    }

    #[test]
    fn a_resource_is_its_clients_until_it_ends() {
        let mut owners = Owners::new(10, true);
        owners.insert(&name("files/a"), owned(2, "anna", 100), 0);

        assert_eq!(owners.find(&name("files/a"), &client("anna"), 99), Found::Owner(KeyId(2)));
        assert_eq!(owners.find(&name("files/a"), &client("bert"), 99), Found::Foreign);
        assert_eq!(owners.find(&name("files/a"), &client("anna"), 100), Found::Unknown);
        assert_eq!(owners.find(&name("files/b"), &client("anna"), 0), Found::Unknown);
    }

    #[test]
    fn without_isolation_clients_share() {
        let mut owners = Owners::new(10, false);
        owners.insert(&name("files/a"), owned(2, "anna", 100), 0);

        assert_eq!(owners.find(&name("files/a"), &client("bert"), 0), Found::Owner(KeyId(2)));
        assert_eq!(owners.page("files", &client("bert"), None, 9, 0), [name("files/a")]);
    }

    #[test]
    fn what_is_known_stays_its_clients_and_only_news_is_news() {
        let mut owners = Owners::new(10, true);

        assert!(owners.insert(&name("files/a"), owned(2, "anna", 100), 0).0);
        assert!(!owners.insert(&name("files/a"), owned(2, "bert", 100), 1).0);
        assert!(owners.insert(&name("files/a"), owned(2, "anna", 200), 2).0);
        assert_eq!(owners.find(&name("files/a"), &client("anna"), 150), Found::Owner(KeyId(2)));
        assert_eq!(owners.find(&name("files/a"), &client("bert"), 150), Found::Foreign);
    }

    #[test]
    fn when_it_is_full_what_ends_first_is_forgotten() {
        let mut owners = Owners::new(2, true);
        owners.insert(&name("files/a"), owned(1, "anna", 300), 0);
        owners.insert(&name("files/b"), owned(1, "anna", 100), 0);

        let (_, forgotten) = owners.insert(&name("files/c"), owned(1, "anna", 200), 0);

        assert_eq!((forgotten, owners.len()), (Some(name("files/b")), 2));
        owners.expire(200);
        assert_eq!(owners.page("files", &client("anna"), None, 9, 0), [name("files/a")]);
    }

    #[test]
    fn pages_hold_what_the_client_may_see_of_one_collection() {
        let mut owners = Owners::new(10, true);
        for (text, of) in [
            ("files/a", "anna"),
            ("files/b", "bert"),
            ("files/c", "anna"),
            ("files/d", "anna"),
            ("filesX/e", "anna"),
        ] {
            owners.insert(&name(text), owned(1, of, 100), 0);
        }

        let first = owners.page("files", &client("anna"), None, 2, 0);
        let second = owners.page("files", &client("anna"), first.last(), 2, 0);

        assert_eq!(first, [name("files/a"), name("files/c")]);
        assert_eq!(second, [name("files/d")]);
    }

    #[test]
    fn files_that_are_sent_together_stay_together_for_a_while() {
        let mut owners = Owners::new(10, true);
        let first = owners.together(&client("anna"), 0);

        assert_eq!(owners.together(&client("anna"), TOGETHER_MS - 1), first);
        assert_ne!(owners.together(&client("bert"), 1), first);
        assert_ne!(owners.together(&client("anna"), TOGETHER_MS), first);
    }
}
