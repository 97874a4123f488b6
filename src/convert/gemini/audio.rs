//! Sound as Gemini's speaking models send it: bare samples of 16 bits, one channel, little-endian.

/// What Gemini has always sent so far, in samples a second.
const USUAL_RATE: u32 = 24_000;

/// Samples a second of `audio/L16;codec=pcm;rate=24000`; `None` for sound of another kind, which has a header of its own.
pub fn sample_rate(mime_type: &str) -> Option<u32> {
    let mut parameters = mime_type.split(';').map(str::trim);
    let kind = parameters.next()?;
    if !kind.eq_ignore_ascii_case("audio/L16") && !kind.eq_ignore_ascii_case("audio/pcm") {
        return None;
    }
    let rate = parameters.find_map(|parameter| parameter.strip_prefix("rate=")?.parse().ok());
    Some(rate.unwrap_or(USUAL_RATE))
}

/// Samples with the header of a WAV file in front. Source: RIFF WAVE, PCM format.
pub fn wav(samples: &[u8], rate: u32) -> Vec<u8> {
    const HEADER: u32 = 44;
    const SAMPLE_BYTES: u16 = 2;
    let length = u32::try_from(samples.len()).unwrap_or(u32::MAX - HEADER);
    let mut file = Vec::with_capacity(samples.len() + HEADER as usize);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(length.saturating_add(HEADER - 8)).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&16_u32.to_le_bytes());
    // PCM, one channel.
    file.extend_from_slice(&[1, 0, 1, 0]);
    file.extend_from_slice(&rate.to_le_bytes());
    file.extend_from_slice(&rate.saturating_mul(SAMPLE_BYTES.into()).to_le_bytes());
    file.extend_from_slice(&SAMPLE_BYTES.to_le_bytes());
    file.extend_from_slice(&(SAMPLE_BYTES * 8).to_le_bytes());
    file.extend_from_slice(b"data");
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(samples);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_where_there_are_bare_samples() {
        assert_eq!(sample_rate("audio/L16;codec=pcm;rate=16000"), Some(16_000));
        assert_eq!(sample_rate("audio/pcm"), Some(24_000));
        assert_eq!(sample_rate("audio/wav"), None);
    }

    #[test]
    fn a_header_tells_length_and_rate() {
        let file = wav(&[1, 2, 3, 4], 24_000);

        assert_eq!(file.len(), 48);
        assert_eq!((&file[..4], &file[8..16]), (&b"RIFF"[..], &b"WAVEfmt "[..]));
        assert_eq!(file[4..8], 40_u32.to_le_bytes());
        assert_eq!(file[24..28], 24_000_u32.to_le_bytes());
        assert_eq!(file[28..32], 48_000_u32.to_le_bytes());
        assert_eq!((&file[40..44], &file[44..]), (&4_u32.to_le_bytes()[..], &[1, 2, 3, 4][..]));
    }
}
