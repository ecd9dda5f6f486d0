//! `wasi:blobstore`: blobs of the buckets that the function was granted.

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

use self::bound::wasi::blobstore::container::HostStreamObjectNames;
use self::bound::wasi::blobstore::types::{HostIncomingValue, HostOutgoingValue};
use self::bound::wasi::blobstore::{blobstore, container, types};
use super::interface::{Interface, Release};
use crate::runtime::state::keeper::{HasKeeper, Keeps, View};
use crate::runtime::state::objects::list::Names;
use crate::runtime::state::objects::{Container, Reading, Writing};
use crate::runtime::state::operation::Operation;
use crate::runtime::state::trouble::Trouble;

mod bound {
    wasmtime::component::bindgen!({
        path: "wit/blobstore.wit",
        world: "wasi:blobstore/imports",
        imports: { default: async | trappable },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:blobstore/container.container": crate::runtime::state::objects::Container,
            "wasi:blobstore/container.stream-object-names": crate::runtime::state::objects::list::Names,
            "wasi:blobstore/types.incoming-value": crate::runtime::state::objects::Reading,
            "wasi:blobstore/types.outgoing-value": crate::runtime::state::objects::Writing,
        },
    });
}

const NAMES: &[&str] = &["wasi:blobstore/blobstore", "wasi:blobstore/container", "wasi:blobstore/types"];
/// Why no bucket is made or deleted.
const NOT_HERE: &str = "buckets are made and deleted where functions are deployed";

/// What the guest is told: it worked, or why not.
type Told<T> = wasmtime::Result<Result<T, String>>;

pub(super) const fn interface<T: Keeps>() -> Interface<T> {
    Interface { release: Release::Wasip2, exactly: Some("0.2.0-draft"), names: NAMES, link: |it| link(it) }
}

fn link<T: Keeps>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    types::add_to_linker::<T, HasKeeper>(linker, T::keeper)?;
    container::add_to_linker::<T, HasKeeper>(linker, T::keeper)?;
    blobstore::add_to_linker::<T, HasKeeper>(linker, T::keeper)
}

fn told<T>(result: Result<T, Trouble>) -> Told<T> {
    match result {
        Ok(it) => Ok(Ok(it)),
        Err(Trouble::Broken(error)) => Err(error),
        Err(Trouble::Denied) => Ok(Err("access-denied: the function's 'blobs' do not allow it".to_owned())),
        Err(Trouble::NoBucket) => Ok(Err("bucket-not-found: there is no such bucket".to_owned())),
        Err(trouble) => Ok(Err(trouble.to_string())),
    }
}

/// What only a broken guest can meet.
fn sound<T>(result: Result<T, Trouble>) -> wasmtime::Result<T> {
    result.map_err(|trouble| match trouble {
        Trouble::Broken(error) => error,
        trouble => wasmtime::Error::msg(trouble.to_string()),
    })
}

impl types::Host for View<'_> {}

impl HostOutgoingValue for View<'_> {
    async fn new_outgoing_value(&mut self) -> wasmtime::Result<Resource<Writing>> {
        // The interface has no word for a bound here: that of streams is told where they begin.
        sound(self.outgoing())
    }

    async fn outgoing_value_write_body(
        &mut self,
        value: Resource<Writing>,
    ) -> wasmtime::Result<Result<Resource<DynOutputStream>, ()>> {
        sound(self.body_of(&value)).map(|stream| stream.ok_or(()))
    }

    async fn finish(&mut self, value: Resource<Writing>) -> Told<()> {
        told(View::finish(self, value).await)
    }

    async fn drop(&mut self, value: Resource<Writing>) -> wasmtime::Result<()> {
        self.forget(value).map(drop)
    }
}

impl HostIncomingValue for View<'_> {
    async fn incoming_value_consume_sync(&mut self, value: Resource<Reading>) -> Told<Vec<u8>> {
        told(self.consume(value).await)
    }

    async fn incoming_value_consume_async(
        &mut self,
        value: Resource<Reading>,
    ) -> Told<Resource<DynInputStream>> {
        told(self.stream_of(value))
    }

    async fn size(&mut self, value: Resource<Reading>) -> wasmtime::Result<u64> {
        sound(View::size(self, &value))
    }

    async fn drop(&mut self, value: Resource<Reading>) -> wasmtime::Result<()> {
        self.forget(value).map(drop)
    }
}

impl container::Host for View<'_> {}

impl container::HostContainer for View<'_> {
    async fn name(&mut self, it: Resource<Container>) -> Told<String> {
        told(self.container_name(&it))
    }

    async fn info(&mut self, it: Resource<Container>) -> Told<types::ContainerMetadata> {
        // When a bucket was made is told nobody.
        told(self.container_name(&it).map(|name| types::ContainerMetadata { name, created_at: 0 }))
    }

    async fn get_data(
        &mut self,
        it: Resource<Container>,
        name: String,
        start: u64,
        end: u64,
    ) -> Told<Resource<Reading>> {
        told(View::get_data(self, &it, name, (start, end)).await)
    }

    async fn write_data(
        &mut self,
        it: Resource<Container>,
        name: String,
        value: Resource<Writing>,
    ) -> Told<()> {
        told(View::write_data(self, &it, name, &value).await)
    }

    async fn list_objects(&mut self, it: Resource<Container>) -> Told<Resource<Names>> {
        told(View::list_objects(self, &it).await)
    }

    async fn delete_object(&mut self, it: Resource<Container>, name: String) -> Told<()> {
        told(View::delete_objects(self, Operation::DeleteObject, &it, vec![name]).await)
    }

    async fn delete_objects(&mut self, it: Resource<Container>, names: Vec<String>) -> Told<()> {
        told(View::delete_objects(self, Operation::DeleteObjects, &it, names).await)
    }

    async fn has_object(&mut self, it: Resource<Container>, name: String) -> Told<bool> {
        told(self.object(Operation::HasObject, &it, name).await.map(|info| info.is_some()))
    }

    async fn object_info(&mut self, it: Resource<Container>, name: String) -> Told<types::ObjectMetadata> {
        let (container, info) =
            (sound(self.container_name(&it))?, self.object(Operation::ObjectInfo, &it, name).await);
        told(info).map(|told| {
            let info = told?.ok_or("blob-not-found: there is no such object in the bucket")?;
            let created_at = info.modified_ms / 1000;
            Ok(types::ObjectMetadata { name: info.key, container, created_at, size: info.bytes })
        })
    }

    async fn clear(&mut self, it: Resource<Container>) -> Told<()> {
        told(View::clear(self, &it).await)
    }

    async fn drop(&mut self, it: Resource<Container>) -> wasmtime::Result<()> {
        self.forget(it).map(drop)
    }
}

impl HostStreamObjectNames for View<'_> {
    async fn read_stream_object_names(&mut self, it: Resource<Names>, len: u64) -> Told<(Vec<String>, bool)> {
        told(self.next_names(&it, len).await)
    }

    async fn skip_stream_object_names(&mut self, it: Resource<Names>, num: u64) -> Told<(u64, bool)> {
        told(self.skip_names(&it, num).await)
    }

    async fn drop(&mut self, it: Resource<Names>) -> wasmtime::Result<()> {
        self.forget(it).map(drop)
    }
}

impl blobstore::Host for View<'_> {
    /// As elsewhere: one that is there is given, which many components open no other way.
    async fn create_container(&mut self, name: String) -> Told<Resource<Container>> {
        match View::get_container(self, name.clone()).await {
            Err(Trouble::Denied | Trouble::NoBucket) => Ok(Err(format!(
                "invalid-argument: '{name}': {NOT_HERE}, and the function's 'blobs' have none such"
            ))),
            opened => told(opened),
        }
    }

    async fn get_container(&mut self, name: String) -> Told<Resource<Container>> {
        told(View::get_container(self, name).await)
    }

    async fn delete_container(&mut self, name: String) -> Told<()> {
        Ok(Err(format!("invalid-argument: '{name}': {NOT_HERE}")))
    }

    async fn container_exists(&mut self, name: String) -> Told<bool> {
        told(View::container_exists(self, &name).await)
    }

    async fn copy_object(&mut self, src: types::ObjectId, dest: types::ObjectId) -> Told<()> {
        told(self.copy(Operation::CopyObject, object(src), object(dest)).await)
    }

    async fn move_object(&mut self, src: types::ObjectId, dest: types::ObjectId) -> Told<()> {
        told(self.copy(Operation::MoveObject, object(src), object(dest)).await)
    }
}

fn object(id: types::ObjectId) -> (String, String) {
    (id.container, id.object)
}
