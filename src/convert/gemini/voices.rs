//! Voices of Gemini's speaking models, and what they are called elsewhere.

/// Gemini's prebuilt voices. Source: Google's page on speech generation, 2026-09.
const VOICES: [&str; 30] = [
    "Zephyr",
    "Puck",
    "Charon",
    "Kore",
    "Fenrir",
    "Leda",
    "Orus",
    "Aoede",
    "Callirrhoe",
    "Autonoe",
    "Enceladus",
    "Iapetus",
    "Umbriel",
    "Algieba",
    "Despina",
    "Erinome",
    "Algenib",
    "Rasalgethi",
    "Laomedeia",
    "Achernar",
    "Alnilam",
    "Schedar",
    "Gacrux",
    "Pulcherrima",
    "Achird",
    "Zubenelgenubi",
    "Vindemiatrix",
    "Sadachbia",
    "Sadaltager",
    "Sulafat",
];

/// OpenAI's voices with one of Gemini's each; which one is a matter of taste.
const OPENAI: [(&str, &str); 13] = [
    ("alloy", "Kore"),
    ("ash", "Charon"),
    ("ballad", "Algieba"),
    ("cedar", "Umbriel"),
    ("coral", "Aoede"),
    ("echo", "Puck"),
    ("fable", "Fenrir"),
    ("marin", "Autonoe"),
    ("nova", "Leda"),
    ("onyx", "Orus"),
    ("sage", "Zephyr"),
    ("shimmer", "Callirrhoe"),
    ("verse", "Iapetus"),
];

/// Gemini's name of a voice, in any letter case, by its own name or OpenAI's; `None` when nobody knows it.
pub fn voice(name: &str) -> Option<&'static str> {
    let own = VOICES.iter().find(|voice| voice.eq_ignore_ascii_case(name)).copied();
    own.or_else(|| {
        OPENAI.iter().find(|(openai, _)| openai.eq_ignore_ascii_case(name)).map(|(_, gemini)| *gemini)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_voice_of_openai_is_one_of_geminis() {
        for (openai, gemini) in OPENAI {
            assert!(VOICES.contains(&gemini));
            assert_eq!(voice(openai), Some(gemini));
        }
        assert_eq!(voice("kore"), Some("Kore"));
        assert_eq!(voice("robot"), None);
    }
}
