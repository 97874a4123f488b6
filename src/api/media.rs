//! Replaces the addresses in a request by what they name.

use crate::{
    convert::{ConvertError, gemini::media::Media, openai::message::media_error},
    media::Fetcher,
};

/// More addresses than any client sends in one request.
const MAX_ADDRESSES: usize = 32;

/// Fetches all remote media of a request, one after the other, within one budget. `None` for a fetcher: none is fetched.
pub async fn fetch_remote(
    fetcher: Option<&Fetcher>,
    media: impl Iterator<Item = &mut Media>,
) -> Result<(), ConvertError> {
    let mut left = fetcher.map_or(0, Fetcher::budget);
    let remote = media.filter(|medium| matches!(medium, Media::Remote { .. }));
    for (index, medium) in remote.enumerate() {
        let Media::Remote { url, param, place } = &*medium else { continue };
        let refused = |reason: String| ConvertError::RemoteMedia { param: param.clone(), reason };
        let Some(fetcher) = fetcher else {
            let off = "remote addresses are not fetched here (MEDIA_FETCH_ENABLED); send a data URL instead.";
            return Err(refused(off.to_owned()));
        };
        if index >= MAX_ADDRESSES {
            return Err(refused(format!("a request may name at most {MAX_ADDRESSES} remote addresses.")));
        }
        let fetched = fetcher.fetch(url, left).await;
        let fetched = fetched.map_err(|error| refused(format!("could not fetch it: {error}.")))?;
        left -= fetched.bytes.len();
        let read = Media::from_bytes(&fetched.bytes, &fetched.content_type, *place);
        *medium = read.map_err(|error| media_error(error, param))?;
    }
    Ok(())
}
