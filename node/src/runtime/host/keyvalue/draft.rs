//! 0.2.0-draft: cursors are numbers, increments add, nothing is swapped.

use wasmtime::component::{Linker, Resource};

use self::bound::wasi::keyvalue::{atomics, batch, store};
use crate::runtime::state::keeper::{HasKeeper, Keeps, OpenedBucket, View};
use crate::runtime::state::trouble::Trouble;

mod bound {
    wasmtime::component::bindgen!({
        path: "wit/keyvalue-draft.wit",
        world: "imports",
        imports: { default: async | trappable },
        with: { "wasi:keyvalue/store.bucket": crate::runtime::state::keeper::OpenedBucket },
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
        cursor: Option<u64>,
    ) -> Result<store::KeyResponse, Trouble> {
        let (keys, cursor) = self.list_numbered(&bucket, cursor).await?;
        Ok(store::KeyResponse { keys, cursor })
    }

    async fn drop(&mut self, bucket: Handle) -> wasmtime::Result<()> {
        self.forget(bucket).map(drop)
    }
}

impl atomics::Host for View<'_> {
    async fn increment(&mut self, bucket: Handle, key: String, delta: u64) -> Result<u64, Trouble> {
        let number =
            |_| Trouble::invalid("numbers are of 64 bits with a sign: this one has no place among them");
        let by = i64::try_from(delta).map_err(number)?;
        let sum = View::increment(self, &bucket, key, by).await?;
        u64::try_from(sum).map_err(number)
    }
}

impl batch::Host for View<'_> {
    async fn get_many(
        &mut self,
        bucket: Handle,
        keys: Vec<String>,
    ) -> Result<Vec<Option<(String, Vec<u8>)>>, Trouble> {
        let values = View::get_many(self, &bucket, &keys).await?;
        let pair = |(key, value): (String, Option<bytes::Bytes>)| value.map(|value| (key, Vec::from(value)));
        Ok(keys.into_iter().zip(values).map(pair).collect())
    }

    async fn set_many(&mut self, bucket: Handle, pairs: Vec<(String, Vec<u8>)>) -> Result<(), Trouble> {
        View::set_many(self, &bucket, pairs).await
    }

    async fn delete_many(&mut self, bucket: Handle, keys: Vec<String>) -> Result<(), Trouble> {
        View::delete_many(self, &bucket, keys).await
    }
}
