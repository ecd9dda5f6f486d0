//! 0.2.0-draft2: cursors are texts, increments may take away, and values are swapped.

use bytes::Bytes;
use wasmtime::component::{Linker, Resource};

use self::bound::wasi::keyvalue::{atomics, batch, store};
use crate::runtime::state::keeper::{HasKeeper, Keeps, OpenedBucket, Swapping, View};
use crate::runtime::state::trouble::Trouble;
use crate::runtime::state::work::{Keys, Swapped};

mod bound {
    wasmtime::component::bindgen!({
        path: "wit/keyvalue-draft2.wit",
        world: "imports",
        imports: { default: async | trappable },
        with: {
            "wasi:keyvalue/store.bucket": crate::runtime::state::keeper::OpenedBucket,
            "wasi:keyvalue/atomics.cas": crate::runtime::state::keeper::Swapping,
        },
        trappable_error_type: { "wasi:keyvalue/store.error" => crate::runtime::state::trouble::Trouble },
    });
}

type Handle = Resource<OpenedBucket>;

pub(super) fn link<T: Keeps>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    store::add_to_linker::<T, HasKeeper>(linker, T::keeper)?;
    atomics::add_to_linker::<T, HasKeeper>(linker, T::keeper)?;
    batch::add_to_linker::<T, HasKeeper>(linker, T::keeper)
}

impl store::Host for View<'_> {
    async fn open(&mut self, identifier: String) -> Result<Handle, Trouble> {
        View::open(self, identifier).await
    }

    fn convert_error(&mut self, error: Trouble) -> wasmtime::Result<store::Error> {
        match error {
            Trouble::NoBucket => Ok(store::Error::NoSuchStore),
            Trouble::Denied => Ok(store::Error::AccessDenied),
            Trouble::Other(_) => Ok(store::Error::Other(error.to_string())),
            Trouble::Broken(error) => Err(error),
        }
    }
}

impl store::HostBucket for View<'_> {
    async fn get(&mut self, bucket: Handle, key: String) -> Result<Option<Vec<u8>>, Trouble> {
        Ok(View::get(self, &bucket, &key).await?.map(Vec::from))
    }

    async fn set(&mut self, bucket: Handle, key: String, value: Vec<u8>) -> Result<(), Trouble> {
        View::set(self, &bucket, key, value).await
    }

    async fn delete(&mut self, bucket: Handle, key: String) -> Result<(), Trouble> {
        View::delete(self, &bucket, key).await
    }

    async fn exists(&mut self, bucket: Handle, key: String) -> Result<bool, Trouble> {
        View::exists(self, &bucket, &key).await
    }

    async fn list_keys(
        &mut self,
        bucket: Handle,
        cursor: Option<String>,
    ) -> Result<store::KeyResponse, Trouble> {
        let after = cursor.as_deref().map(behind).transpose()?.unwrap_or_default();
        let Keys { keys, after } = View::list_keys(self, &bucket, after).await?;
        Ok(store::KeyResponse { keys, cursor: after.map(|after| cursor_of(&after)) })
    }

    async fn drop(&mut self, bucket: Handle) -> wasmtime::Result<()> {
        self.forget(bucket).map(drop)
    }
}

impl atomics::Host for View<'_> {
    async fn increment(&mut self, bucket: Handle, key: String, delta: i64) -> Result<i64, Trouble> {
        View::increment(self, &bucket, key, delta).await
    }

    async fn swap(
        &mut self,
        cas: Resource<Swapping>,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), atomics::CasError>> {
        Ok(match View::swap(self, cas, value).await {
            Ok(Swapped::Done) => Ok(()),
            Ok(Swapped::Again(cas)) => Err(atomics::CasError::CasFailed(cas)),
            Err(trouble) => Err(atomics::CasError::StoreError(store::Host::convert_error(self, trouble)?)),
        })
    }
}

impl atomics::HostCas for View<'_> {
    async fn new(&mut self, bucket: Handle, key: String) -> Result<Resource<Swapping>, Trouble> {
        self.cas(&bucket, key).await
    }

    async fn current(&mut self, cas: Resource<Swapping>) -> Result<Option<Vec<u8>>, Trouble> {
        Ok(View::current(self, &cas).await?.map(Vec::from))
    }

    async fn drop(&mut self, cas: Resource<Swapping>) -> wasmtime::Result<()> {
        self.forget(cas).map(drop)
    }
}

impl batch::Host for View<'_> {
    async fn get_many(
        &mut self,
        bucket: Handle,
        keys: Vec<String>,
    ) -> Result<Vec<(String, Option<Vec<u8>>)>, Trouble> {
        let values = View::get_many(self, &bucket, &keys).await?;
        let pair = |(key, value): (String, Option<Bytes>)| (key, value.map(Vec::from));
        Ok(keys.into_iter().zip(values).map(pair).collect())
    }

    async fn set_many(&mut self, bucket: Handle, pairs: Vec<(String, Vec<u8>)>) -> Result<(), Trouble> {
        View::set_many(self, &bucket, pairs).await
    }

    async fn delete_many(&mut self, bucket: Handle, keys: Vec<String>) -> Result<(), Trouble> {
        View::delete_many(self, &bucket, keys).await
    }
}

/// Behind which key a page goes on, as a text: keys of others may be none.
fn cursor_of(after: &[u8]) -> String {
    after.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn behind(cursor: &str) -> Result<Bytes, Trouble> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = cursor.as_bytes().chunks(2).map(byte).collect();
    let are_digits = cursor.len().is_multiple_of(2) && cursor.bytes().all(|it| it.is_ascii_hexdigit());
    let bytes = bytes.filter(|_| are_digits);
    bytes.map(Bytes::from).ok_or_else(|| Trouble::invalid("the cursor is none that a page of keys has told"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_a_text_whatever_the_key_is() {
        for key in [&b"a/b"[..], b"\xff\0", b""] {
            assert_eq!(behind(&cursor_of(key)).unwrap(), key);
        }
        for bad in ["6", "zz", "ää", "+1"] {
            assert!(behind(bad).is_err(), "{bad}");
        }
    }
}
