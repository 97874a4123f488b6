//! Puts bytes together that the network tore apart, copying only what was torn.

use std::mem;

use bytes::{Bytes, BytesMut};

/// Pieces that belong together: kept as it came while there is one, copied from the second on.
#[derive(Debug, Default)]
pub(super) enum Joined {
    #[default]
    Nothing,
    One(Bytes),
    Many(BytesMut),
}

impl Joined {
    pub fn append(&mut self, piece: Bytes, separator: &[u8]) {
        if piece.is_empty() && separator.is_empty() {
            return;
        }
        *self = match mem::take(self) {
            Self::Nothing => Self::One(piece),
            Self::One(first) => {
                let mut all = BytesMut::with_capacity(2 * (first.len() + separator.len() + piece.len()));
                all.extend_from_slice(&first);
                all.extend_from_slice(separator);
                all.extend_from_slice(&piece);
                Self::Many(all)
            }
            Self::Many(mut all) => {
                all.extend_from_slice(separator);
                all.extend_from_slice(&piece);
                Self::Many(all)
            }
        }
    }

    /// All of it; `None` when it is empty.
    pub fn take(&mut self) -> Option<Bytes> {
        let all = match mem::take(self) {
            Self::Nothing => return None,
            Self::One(piece) => piece,
            Self::Many(all) => all.freeze(),
        };
        (!all.is_empty()).then_some(all)
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(piece) => piece.len(),
            Self::Many(all) => all.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_piece_is_handed_back_as_it_came() {
        let piece = Bytes::from(vec![1, 2, 3]);
        let mut joined = Joined::default();
        joined.append(piece.clone(), b"\n");

        assert_eq!(joined.take().unwrap().as_ptr(), piece.as_ptr());
        assert!(joined.is_empty());
    }

    #[test]
    fn several_pieces_are_joined_by_the_separator() {
        let mut joined = Joined::default();
        for piece in ["", "a", "bc"] {
            joined.append(Bytes::from(piece), b"\n");
        }

        assert_eq!(joined.take().unwrap(), "\na\nbc");
    }

    #[test]
    fn nothing_and_an_empty_piece_are_both_empty() {
        let mut joined = Joined::default();
        joined.append(Bytes::new(), b"\n");

        assert_eq!((joined.take(), joined.take()), (None, None));
    }
}
