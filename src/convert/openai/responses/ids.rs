//! Ids of items: the response that an item belongs to can be read from its id, so that a reference to it can be followed.

/// `resp_` and 32 hexadecimal digits.
const RESPONSE: &str = "resp_";
const DIGITS: usize = 32;

/// The id of item `index` of an output.
pub(super) fn of_output(prefix: &str, response: &str, index: usize) -> String {
    format!("{prefix}{}{index:03}", bare(response))
}

/// The id of item `index` of an input.
pub(super) fn of_input(prefix: &str, response: &str, index: usize) -> String {
    format!("{prefix}{}i{index:03}", bare(response))
}

fn bare(response: &str) -> &str {
    response.strip_prefix(RESPONSE).unwrap_or(response)
}

/// The response that an item was a part of; `None` for an id that was not made here.
pub fn response_of_item(item: &str) -> Option<String> {
    let (_, rest) = item.split_once('_')?;
    let digits = rest.get(..DIGITS)?;
    let is_ours = digits.bytes().all(|byte| byte.is_ascii_hexdigit()) && rest.len() > DIGITS;
    is_ours.then(|| format!("{RESPONSE}{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_leads_to_its_response() {
        let response = "resp_0190a0b0c0d07e8f90a1b2c3d4e5f601";

        assert_eq!(response_of_item(&of_output("fc_", response, 2)).as_deref(), Some(response));
        assert_eq!(response_of_item(&of_input("msg_", response, 1000)).as_deref(), Some(response));
        for other in ["msg_68af4030592c", "rs", "é_é", "", response] {
            assert_eq!(response_of_item(other), None, "{other}");
        }
    }
}
