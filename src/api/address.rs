//! Paths and queries on their way to Google, as the client wrote them but for what must stay here.

use super::auth::is_credential;

/// Whether a path leads out of where it seems to be.
pub fn climbs(path: &str) -> bool {
    let climbs = |segment: &str| matches!(&*segment.to_ascii_lowercase().replace("%2e", "."), "." | "..");
    path.split('/').any(climbs)
}

/// Path and query; parameters stay as they were written, but for credentials.
pub fn with_query(path: String, query: &str) -> String {
    let is_kept = |parameter: &&str| {
        let mut read = url::form_urlencoded::parse(parameter.as_bytes());
        !parameter.is_empty() && read.all(|(name, _)| !is_credential(&name))
    };
    let query = query.split('&').filter(is_kept).collect::<Vec<_>>().join("&");
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_stay_and_all_else_goes_as_it_was_written() {
        let at_google = |query| with_query("/p".to_owned(), query);

        assert_eq!(at_google("key=sk-1&pageSize=2&updateMask=a%2Cb"), "/p?pageSize=2&updateMask=a%2Cb");
        assert_eq!(at_google("access_token=x"), "/p");
        assert_eq!(at_google("%6bey=sk-1"), "/p");
        assert_eq!(at_google(""), "/p");
    }

    #[test]
    fn no_path_climbs() {
        for path in ["a/../b", "a/%2E%2e/b", "./a"] {
            assert!(climbs(path), "{path}");
        }
        assert!(!climbs("v1beta/files/a..b"));
    }
}
