//! What a reader must undo.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a reader must undo, the cipher first; part of the manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)] // a layer that we don't know of must not be passed over
pub struct EncodingLayers {
    /// The outer one; `null` when the file is not encrypted.
    pub encryption: Option<EncryptionFormat>,
    /// The inner one; `null` when nothing was compressed (`pg_dump -Fc -Z6` compresses within its own format).
    pub compression: Option<CompressionFormat>,
}

/// How a file is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum EncryptionFormat {
    /// age-encryption.org/v1, X25519 recipients.
    Age,
    /// `openssl enc -aes-256-cbc`: `Salted__`, 8 bytes of salt, AES-256-CBC with PKCS #7 padding.
    OpenSsl {
        /// From passphrase to key.
        kdf: KeyDerivation,
    },
}

/// How openssl makes key and IV from a passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum KeyDerivation {
    /// PBKDF2-HMAC-SHA256: `-pbkdf2 -iter N`.
    Pbkdf2 {
        /// Rounds; openssl's own default is 10,000.
        iterations: u32,
    },
    /// `EVP_BytesToKey` with one round, what openssl does without `-pbkdf2`. Read, never written: it protects badly.
    BytesToKey {
        /// `-md`; the default was md5 before OpenSSL 1.1.0, and sha256 since.
        digest: KdfDigest,
    },
}

/// The hash of [`KeyDerivation::BytesToKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KdfDigest {
    /// `-md md5`.
    Md5,
    /// `-md sha256`.
    Sha256,
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CompressionFormat {
    /// RFC 8878, any number of frames.
    Zstd,
    /// RFC 1952, any number of members.
    Gzip,
}

impl EncodingLayers {
    /// Shell commands of stock tools that undo the layers, in order, each from its standard input to its standard output;
    /// the caller joins them by ` | `. `key_file` is where the reader of the command has the identity or passphrase.
    pub fn shell_commands(&self, key_file: &str) -> Vec<String> {
        let cipher = self.encryption.map(|cipher| match cipher {
            EncryptionFormat::Age => format!("age -d -i {}", shell_quote(key_file)),
            EncryptionFormat::OpenSsl { kdf } => {
                let kdf = match kdf {
                    KeyDerivation::Pbkdf2 { iterations } => format!("-pbkdf2 -iter {iterations}"),
                    KeyDerivation::BytesToKey { digest: KdfDigest::Md5 } => "-md md5".into(),
                    KeyDerivation::BytesToKey { digest: KdfDigest::Sha256 } => "-md sha256".into(),
                };
                let pass = shell_quote(&format!("file:{key_file}"));
                format!("openssl enc -d -aes-256-cbc {kdf} -pass {pass}")
            }
        });
        let compressed = self.compression.map(|compressed| match compressed {
            CompressionFormat::Zstd => "zstd -dc".into(),
            CompressionFormat::Gzip => "gzip -dc".into(),
        });
        cipher.into_iter().chain(compressed).collect()
    }
}

/// One word for a POSIX shell.
fn shell_quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_json_of_every_layer() {
        let openssl = |kdf| Some(EncryptionFormat::OpenSsl { kdf });
        let table = [
            (None, None, "", r#"{"encryption":null,"compression":null}"#),
            (
                Some(EncryptionFormat::Age),
                Some(CompressionFormat::Zstd),
                "age -d -i KEY.txt | zstd -dc",
                r#"{"encryption":"age","compression":"zstd"}"#,
            ),
            (
                openssl(KeyDerivation::Pbkdf2 { iterations: 600_000 }),
                Some(CompressionFormat::Gzip),
                "openssl enc -d -aes-256-cbc -pbkdf2 -iter 600000 -pass file:KEY.txt | gzip -dc",
                r#"{"encryption":{"openssl":{"kdf":{"pbkdf2":{"iterations":600000}}}},"compression":"gzip"}"#,
            ),
            (
                openssl(KeyDerivation::BytesToKey { digest: KdfDigest::Md5 }),
                None,
                "openssl enc -d -aes-256-cbc -md md5 -pass file:KEY.txt",
                r#"{"encryption":{"openssl":{"kdf":{"bytestokey":{"digest":"md5"}}}},"compression":null}"#,
            ),
        ];
        for (cipher, compressed, commands, json) in table {
            let layers = EncodingLayers { encryption: cipher, compression: compressed };
            assert_eq!(layers.shell_commands("KEY.txt").join(" | "), commands);
            assert_eq!(serde_json::to_string(&layers).expect("JSON"), json);
            assert_eq!(serde_json::from_str::<EncodingLayers>(json).expect("itself"), layers);
        }
        assert!(
            serde_json::from_str::<EncodingLayers>(r#"{"encryption":"age","armor":true}"#).is_err()
        );
    }

    #[test]
    fn a_key_file_of_any_name_is_one_word() {
        assert_eq!(shell_quote("/etc/holdfast/key.txt"), "/etc/holdfast/key.txt");
        assert_eq!(shell_quote("it's a key"), r"'it'\''s a key'");
        assert_eq!(shell_quote(""), "''");
    }
}
