//! The file `identity`: magic with format version, checksum, message. Written so that a power cut leaves the old or the new one.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use coracle_proto::id::{ClusterId, NodeId};
use coracle_proto::pb;
use prost::Message as _;

use super::{Identity, IdentityError};

const NAME: &str = "identity";
/// Says what the file is; its last byte is the format's version.
const MAGIC: &[u8; 8] = b"coracle\x01";
/// Bytes of BLAKE3 that guard the message: it is a checksum here, not a signature.
const CHECK_LENGTH: usize = 16;

/// Reads the identity, if the folder has one.
///
/// # Errors
/// When the file cannot be read or is damaged.
pub fn load(dir: &Path) -> Result<Option<Identity>, IdentityError> {
    let path = dir.join(NAME);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(IdentityError::Io { path: path.display().to_string(), source }),
    };
    let damaged =
        |reason: &str| IdentityError::Damaged { path: path.display().to_string(), reason: reason.to_owned() };
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| damaged("unknown format"))?;
    let (check, body) = rest.split_at_checked(CHECK_LENGTH).ok_or_else(|| damaged("too short"))?;
    if checksum(body) != check {
        return Err(damaged("wrong checksum"));
    }
    let wire = pb::Identity::decode(body).map_err(|error| damaged(&error.to_string()))?;
    let cluster = ClusterId::try_from(&wire.cluster_id[..]).map_err(|error| damaged(&error.to_string()))?;
    Ok(Some(Identity {
        cluster,
        cluster_name: wire.cluster_name,
        node: NodeId::new(wire.node_id),
        founder: wire.founder,
        controllers: wire.controllers,
    }))
}

/// Writes the identity; it is on disk when this returns.
///
/// # Errors
/// When the file cannot be written.
pub fn save(dir: &Path, identity: &Identity) -> Result<(), IdentityError> {
    let body = pb::Identity {
        cluster_id: identity.cluster.to_wire(),
        cluster_name: identity.cluster_name.clone(),
        node_id: identity.node.get(),
        founder: identity.founder,
        controllers: identity.controllers.clone(),
    }
    .encode_to_vec();
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&checksum(&body));
    bytes.extend_from_slice(&body);
    write_durably(dir, NAME, &bytes)
}

/// Writes a file whole: temporary file, fsync, rename, fsync of the folder.
pub(crate) fn write_durably(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), IdentityError> {
    let temporary = dir.join(format!("{name}.tmp"));
    let write = || {
        fs::create_dir_all(dir)?;
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, dir.join(name))?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|source| IdentityError::Io { path: dir.join(name).display().to_string(), source })
}

fn checksum(body: &[u8]) -> Vec<u8> {
    blake3::hash(body).as_bytes().iter().copied().take(CHECK_LENGTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::found;

    #[test]
    fn a_cluster_is_founded_once() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path()).unwrap().is_none());
        let first = found(dir.path(), "boat").unwrap();
        assert_eq!(found(dir.path(), "other").unwrap(), first);
        assert_eq!(load(dir.path()).unwrap().unwrap(), first);
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        found(dir.path(), "boat").unwrap();
        let path = dir.path().join(NAME);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(matches!(load(dir.path()), Err(IdentityError::Damaged { .. })), "byte {at}");
        }
        fs::write(&path, &good[..10]).unwrap();
        assert!(load(dir.path()).unwrap_err().to_string().contains("too short"));
    }
}
