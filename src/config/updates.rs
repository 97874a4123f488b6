//! Whether somebody looks for newer releases, and where.

use url::Url;

use super::reader::Reader;

/// The update check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Updates {
    /// Where releases are told of; `None` when nobody looks.
    pub url: Option<Url>,
}

impl Updates {
    pub(super) fn read(reader: &mut Reader) -> Self {
        const URL: &str = "UPDATE_CHECK_URL";
        let is_on = reader.flag("UPDATE_CHECK");
        let url = if reader.optional_text(URL).is_some() { reader.parsed(URL, address) } else { None };
        if is_on && reader.optional_text(URL).is_none() {
            reader.report(URL, "is needed for UPDATE_CHECK");
        }
        Self { url: url.filter(|_| is_on) }
    }
}

fn address(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("is not an http or https URL");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or a password, which are not sent");
    }
    Ok(url)
}
