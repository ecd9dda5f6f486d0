//! Spin's interfaces: values of buckets and variables of the environment by another name.

use wasmtime::component::{ComponentType, Linker, Lower, Resource};

use self::bound::fermyon::spin::key_value;
use super::interface::{Interface, Release};
use super::variables::variable;
use crate::runtime::state::keeper::{HasKeeper, Keeps, OpenedBucket, View};
use crate::runtime::state::trouble::Trouble;

mod bound {
    wasmtime::component::bindgen!({
        path: "wit/spin.wit",
        world: "imports",
        imports: { default: async | trappable },
        with: { "fermyon:spin/key-value.store": crate::runtime::state::keeper::OpenedBucket },
        trappable_error_type: { "fermyon:spin/key-value.error" => crate::runtime::state::trouble::Trouble },
    });
}

/// What `inbound-redis` has for types: nothing of it is called.
const TYPES: &str = "fermyon:spin/redis-types";
const VARIABLES: &str = "fermyon:spin/variables@2.0.0";

type Handle = Resource<OpenedBucket>;

/// `error` of `variables`.
#[derive(Debug, Clone, ComponentType, Lower)]
#[component(variant)]
#[expect(dead_code, reason = "the interface has more than happens here")]
enum NotThere {
    #[component(name = "invalid-name")]
    InvalidName(String),
    #[component(name = "undefined")]
    Undefined(String),
    #[component(name = "provider")]
    Provider(String),
    #[component(name = "other")]
    Other(String),
}

pub(super) const fn interface<T: Keeps>() -> Interface<T> {
    let names = &["fermyon:spin/key-value", "fermyon:spin/variables"];
    Interface { release: Release::Wasip2, exactly: Some("2.0.0"), names, link: |it| link(it) }
}

pub(super) const fn types<T: 'static>() -> Interface<T> {
    let link: fn(&mut Linker<T>) -> wasmtime::Result<()> = |it| it.instance(TYPES).map(drop);
    Interface { release: Release::Wasip2, exactly: Some(""), names: &[TYPES], link }
}

fn link<T: Keeps>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    key_value::add_to_linker::<T, HasKeeper>(linker, T::keeper)?;
    linker.instance(VARIABLES)?.func_wrap("get", |mut store, (name,): (String,)| {
        let keeper: View<'_> = T::keeper(store.data_mut());
        let found = variable(&keeper, &name).or_else(|| variable(&keeper, &name.to_ascii_uppercase()));
        let undefined = || NotThere::Undefined(format!("the function's environment has no '{name}'"));
        Ok((found.ok_or_else(undefined),))
    })
}

impl key_value::Host for View<'_> {
    fn convert_error(&mut self, error: Trouble) -> wasmtime::Result<key_value::Error> {
        match error {
            Trouble::NoBucket => Ok(key_value::Error::NoSuchStore),
            Trouble::Denied => Ok(key_value::Error::AccessDenied),
            Trouble::Other(_) => Ok(key_value::Error::Other(error.to_string())),
            Trouble::Broken(error) => Err(error),
        }
    }
}

impl key_value::HostStore for View<'_> {
    async fn open(&mut self, label: String) -> Result<Handle, Trouble> {
        View::open(self, label).await
    }

    async fn get(&mut self, store: Handle, key: String) -> Result<Option<Vec<u8>>, Trouble> {
        Ok(View::get(self, &store, &key).await?.map(Vec::from))
    }

    async fn set(&mut self, store: Handle, key: String, value: Vec<u8>) -> Result<(), Trouble> {
        View::set(self, &store, key, value).await
    }

    async fn delete(&mut self, store: Handle, key: String) -> Result<(), Trouble> {
        View::delete(self, &store, key).await
    }

    async fn exists(&mut self, store: Handle, key: String) -> Result<bool, Trouble> {
        View::exists(self, &store, &key).await
    }

    async fn get_keys(&mut self, store: Handle) -> Result<Vec<String>, Trouble> {
        // Each page is an operation, of which a call has so many, and its keys are bytes that it reads.
        let mut page = self.list_keys(&store, bytes::Bytes::new()).await?;
        let mut all = page.keys;
        while let Some(after) = page.after.take() {
            page = self.list_keys(&store, after).await?;
            all.append(&mut page.keys);
        }
        Ok(all)
    }

    async fn drop(&mut self, store: Handle) -> wasmtime::Result<()> {
        self.forget(store).map(drop)
    }
}
