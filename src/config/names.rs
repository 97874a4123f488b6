//! Which names are ours, and which look as if they were meant to be.

use super::registry;

/// Settings of the Python original that have no effect here yet; accepted, so that its `.env` files are.
pub(super) const WITHOUT_EFFECT: [&str; 30] = [
    "CLOUDFLARE_IMGBED_AUTH_CODE",
    "CLOUDFLARE_IMGBED_UPLOAD_FOLDER",
    "CLOUDFLARE_IMGBED_URL",
    "ENABLE_TTS",
    "FILES_CLEANUP_ENABLED",
    "FILES_CLEANUP_INTERVAL_HOURS",
    "GITHUB_REPO_NAME",
    "GITHUB_REPO_OWNER",
    "MYSQL_DATABASE",
    "MYSQL_HOST",
    "MYSQL_PASSWORD",
    "MYSQL_PORT",
    "MYSQL_SOCKET",
    "MYSQL_USER",
    "OSS_ACCESS_KEY",
    "OSS_ACCESS_KEY_SECRET",
    "OSS_BUCKET_NAME",
    "OSS_ENDPOINT",
    "OSS_ENDPOINT_INNER",
    "OSS_REGION",
    "PAID_KEY",
    "PICGO_API_KEY",
    "PICGO_API_URL",
    "SMMS_SECRET_TOKEN",
    "TTS_MODEL",
    "TTS_SPEED",
    "TTS_VOICE_NAME",
    "UPLOAD_PROVIDER",
    "VERTEX_API_KEYS",
    "VERTEX_EXPRESS_BASE_URL",
];

pub(super) fn is_setting(name: &str) -> bool {
    registry::find(name).is_some()
}

pub(super) fn has_no_effect_yet(name: &str) -> bool {
    WITHOUT_EFFECT.contains(&name)
}

/// The setting that `name` was probably meant to be, at most `distance` typing errors away.
pub fn closest(name: &str, distance: usize) -> Option<&'static str> {
    let name = name.to_ascii_uppercase();
    let names = registry::SETTINGS.iter().map(|setting| setting.name);
    let distances = names.map(|setting| (strsim::damerau_levenshtein(&name, setting), setting));
    let (best, setting) = distances.min()?;
    (best <= distance && best < setting.len() / 2).then_some(setting)
}

/// The setting that an environment variable was probably meant to be.
///
/// The environment is full of names that have nothing to do with us, so one error must explain the difference (two in
/// a long name), and short names, which are all alike, are never suspected.
pub(super) fn closest_to_variable(name: &str) -> Option<&'static str> {
    match name.len() {
        0..5 => None,
        5..12 => closest(name, 1),
        _ => closest(name, 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_in_environment_variables_are_recognised() {
        let slips = [
            ("API_KEY", "API_KEYS"),
            ("ALLOWED_TOKEN", "ALLOWED_TOKENS"),
            ("TIMEOUT", "TIME_OUT"),
            ("AUTH_TOKENS", "AUTH_TOKEN"),
        ];
        for (name, meant) in slips {
            assert_eq!(closest_to_variable(name), Some(meant), "{name}");
        }
        assert_eq!(closest("MAX_RETRY_S", 3), Some("MAX_RETRIES"));
    }

    #[test]
    fn ordinary_variables_are_never_suspected() {
        let ordinary = [
            "PATH",
            "HOME",
            "HOSTNAME",
            "USER",
            "LANG",
            "TERM",
            "SHELL",
            "PWD",
            "SHLVL",
            "TZ",
            "POST",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "NO_PROXY",
            "AWS_REGION",
            "PGHOST",
            "PGPORT",
            "LOGNAME",
            "EDITOR",
            "HOSTTYPE",
            "SSH_AUTH_SOCK",
            "XDG_DATA_DIRS",
            "KUBERNETES_PORT",
            "GITHUB_TOKEN",
            "OPENAI_API_KEY",
            "GEMINI_API_KEY",
            "CARGO_HOME",
        ];
        for name in ordinary {
            assert_eq!(closest_to_variable(name), None, "{name}");
        }
    }

    #[test]
    fn a_name_is_a_setting_or_without_effect_and_not_both() {
        for name in WITHOUT_EFFECT {
            assert!(!is_setting(name), "{name}");
        }
    }
}
