//! Checkpoints (C2SP tlog-checkpoint) and the signed notes that carry them (C2SP signed-note).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::vkey::{VerifierKey, is_key_name};
use super::{decimal, hash_from_base64, hash_to_base64};
use crate::digest::Digest;

/// The longest signed note that is read, in bytes.
pub const MAX_NOTE_BYTES: usize = 64 * 1024;

/// The most signatures that a note may have; signed-note asks verifiers to accept as many.
pub const MAX_NOTE_SIGNATURES: usize = 16;

/// The state of a log: its identity, its size, and its root at that size (C2SP tlog-checkpoint).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Digest,
}

impl Checkpoint {
    /// The checkpoint of the log `origin` at `size` leaves with this RFC 6962 `root`.
    ///
    /// # Errors
    /// [`CheckpointError::BadOrigin`] when `origin` cannot be a key name: tlog-checkpoint says that an
    /// origin "SHOULD be a schema-less URL containing neither Unicode spaces nor plus", and ours are.
    pub fn new(origin: &str, size: u64, root: Digest) -> Result<Self, CheckpointError> {
        if !is_key_name(origin) {
            return Err(CheckpointError::BadOrigin);
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// Reads the three lines that [`body`](Self::body) writes; there is one spelling only.
    ///
    /// The origin of another's log may have spaces, since tlog-checkpoint forbids to assume otherwise.
    /// Extension lines, which it advises against, are refused.
    ///
    /// # Errors
    /// [`CheckpointError::NotThreeLines`], [`CheckpointError::Extension`],
    /// [`CheckpointError::BadOrigin`], [`CheckpointError::BadSize`], [`CheckpointError::BadRoot`].
    pub fn parse(body: &str) -> Result<Self, CheckpointError> {
        let lines = body.strip_suffix('\n').ok_or(CheckpointError::NotThreeLines)?;
        let mut lines = lines.splitn(4, '\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::NotThreeLines);
        };
        if lines.next().is_some() {
            return Err(CheckpointError::Extension);
        }
        if origin.is_empty() || origin.chars().any(|c| c < ' ') {
            return Err(CheckpointError::BadOrigin);
        }
        let size = decimal(size).ok_or(CheckpointError::BadSize)?;
        let root = hash_from_base64(root).ok_or(CheckpointError::BadRoot)?;
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// The note text: origin, size and base64 of the root, each with a newline (U+000A).
    pub fn body(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, hash_to_base64(&self.root))
    }

    /// The unique name of the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The RFC 6962 root of those leaves.
    pub fn root(&self) -> Digest {
        self.root
    }
}

/// The text whose UTF-8 bytes an Ed25519 key signs: the checkpoint's body, without the blank line
/// (signed-note, "Format").
pub fn note_to_sign(checkpoint: &Checkpoint) -> String {
    checkpoint.body()
}

/// A checkpoint with signatures that nobody has verified yet; only [`verify`](Self::verify) gives it
/// out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    signatures: Vec<NoteSignature>,
}

impl SignedCheckpoint {
    /// Reads a signed note whose text is a checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError::TooLarge`], [`CheckpointError::ControlCharacter`],
    /// [`CheckpointError::NotANote`], [`CheckpointError::BadSignatureLine`],
    /// [`CheckpointError::TooManySignatures`], and those of [`Checkpoint::parse`].
    pub fn parse(note: &str) -> Result<Self, CheckpointError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(CheckpointError::TooLarge);
        }
        if note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(CheckpointError::ControlCharacter);
        }
        // "The text is separated from the signatures by the last empty line in the note."
        let (text, lines) = note.rsplit_once("\n\n").ok_or(CheckpointError::NotANote)?;
        let lines = lines.strip_suffix('\n').ok_or(CheckpointError::NotANote)?;
        if lines.split('\n').nth(MAX_NOTE_SIGNATURES).is_some() {
            return Err(CheckpointError::TooManySignatures);
        }
        let signatures = lines.split('\n').map(NoteSignature::parse).collect::<Result<_, _>>()?;
        let checkpoint = Checkpoint::parse(&format!("{text}\n"))?;
        Ok(Self { checkpoint, signatures })
    }

    /// The signed note that consists of `checkpoint` and one `signature` of `key` over
    /// [`note_to_sign`]. It does not check the signature.
    pub fn assemble(checkpoint: &Checkpoint, key: &VerifierKey, signature: &[u8; 64]) -> String {
        let mut bytes = key.id().to_vec();
        bytes.extend(signature);
        format!("{}\n\u{2014} {} {}\n", checkpoint.body(), key.name(), STANDARD.encode(bytes))
    }

    /// Verifies that `key` signed this and that it is about the log `origin` (tlog-proof, "Verifying a
    /// tlog proof", step 2). Signatures of other keys are ignored.
    ///
    /// # Errors
    /// [`CheckpointError::BadSignature`] when a line with the key's name and id does not verify, even
    /// if another does; [`CheckpointError::Unsigned`] when there is no such line;
    /// [`CheckpointError::WrongOrigin`].
    pub fn verify(
        &self,
        key: &VerifierKey,
        origin: &str,
    ) -> Result<VerifiedCheckpoint, CheckpointError> {
        let text = self.checkpoint.body();
        let is_by_key = |s: &&NoteSignature| s.name == key.name() && s.key_id == key.id();
        let mut by_key = self.signatures.iter().filter(is_by_key).peekable();
        if by_key.peek().is_none() {
            return Err(CheckpointError::Unsigned { key: key.to_string() });
        }
        if !by_key.all(|s| key.key().verifies(text.as_bytes(), &s.signature)) {
            return Err(CheckpointError::BadSignature { name: key.name().to_owned() });
        }
        if self.checkpoint.origin != origin {
            return Err(CheckpointError::WrongOrigin {
                found: self.checkpoint.origin.clone(),
                expected: origin.to_owned(),
            });
        }
        Ok(VerifiedCheckpoint(self.checkpoint.clone()))
    }
}

/// A checkpoint whose origin and signature were verified; there is no other way to get one than
/// [`SignedCheckpoint::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCheckpoint(Checkpoint);

impl VerifiedCheckpoint {
    /// The checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.0
    }

    /// The unique name of the log.
    pub fn origin(&self) -> &str {
        self.0.origin()
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    /// The RFC 6962 root of those leaves.
    pub fn root(&self) -> Digest {
        self.0.root()
    }
}

/// Why a checkpoint is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Longer than [`MAX_NOTE_BYTES`].
    #[error("the signed checkpoint is longer than {MAX_NOTE_BYTES} bytes")]
    TooLarge,
    /// signed-note: "MUST NOT contain any ASCII control characters […] other than newline".
    #[error("the signed checkpoint has a control character; only newlines (U+000A) may end lines")]
    ControlCharacter,
    /// There is no blank line before the signatures, or no newline at the end.
    #[error(
        "this is not a signed note: a text, an empty line and signature lines that end in a newline"
    )]
    NotANote,
    /// More than [`MAX_NOTE_SIGNATURES`].
    #[error("the signed checkpoint has more than {MAX_NOTE_SIGNATURES} signatures")]
    TooManySignatures,
    /// Not an em dash, a space, a key name, a space and base64 of over 4 bytes.
    #[error("a signature line is not of the form \"\u{2014} <key name> <base64>\"")]
    BadSignatureLine,
    /// The text is not origin, size and root.
    #[error("a checkpoint has three lines, origin, size and root hash, each with a newline")]
    NotThreeLines,
    /// There is a fourth line. tlog-checkpoint allows but does not recommend that; we never write it.
    #[error("the checkpoint has extension lines, which this log does not use")]
    Extension,
    /// The origin is empty or has a control character, or, in ours, a space or a `+`.
    #[error("the checkpoint's origin is not the name of a log, such as example.com/evidence-log")]
    BadOrigin,
    /// The size is not a decimal number below 2^64 without sign and leading zeros.
    #[error("the checkpoint's size is not a decimal number without leading zeros")]
    BadSize,
    /// The root is not the base64 of 32 bytes.
    #[error("the checkpoint's root hash is not the base64 of 32 bytes")]
    BadRoot,
    /// No signature line has the key's name and id.
    #[error("the checkpoint is not signed by {key}; check that this is the log's current vkey")]
    Unsigned {
        /// The vkey that was asked for.
        key: String,
    },
    /// A signature line of the key does not verify.
    #[error("the checkpoint has a forged or damaged signature of the key {name}; do not use it")]
    BadSignature {
        /// Of the key.
        name: String,
    },
    /// The key signed it, but for another log.
    #[error("the checkpoint is about the log {found:?}, not about {expected:?}")]
    WrongOrigin {
        /// What the checkpoint says.
        found: String,
        /// What was asked for.
        expected: String,
    },
}

/// A signature line of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NoteSignature {
    name: String,
    key_id: [u8; 4],
    signature: Vec<u8>,
}

impl NoteSignature {
    fn parse(line: &str) -> Result<Self, CheckpointError> {
        let fields = line.strip_prefix("\u{2014} ").and_then(|fields| fields.split_once(' '));
        let (name, bytes) = fields.ok_or(CheckpointError::BadSignatureLine)?;
        let bytes = STANDARD.decode(bytes).map_err(|_| CheckpointError::BadSignatureLine)?;
        match bytes.split_first_chunk() {
            Some((key_id, signature)) if !signature.is_empty() && is_key_name(name) => {
                Ok(Self { name: name.to_owned(), key_id: *key_id, signature: signature.to_vec() })
            }
            _ => Err(CheckpointError::BadSignatureLine),
        }
    }
}

#[cfg(test)]
mod tests;
