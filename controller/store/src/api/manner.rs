//! How a function wants the messages of a queue, between its wire form and the model.

use coracle_proto::codec::InField as _;
use coracle_proto::id::FunctionName;
use coracle_proto::pb::{DeliveryMode, DeliverySpec};
use coracle_proto::status::{Code, Refusal};

use crate::model::{Manner, Name};

/// What is told; what is over a bound the model refuses.
pub(super) fn from_wire(wire: Option<DeliverySpec>) -> Result<Manner, Refusal> {
    let Some(wire) = wire else { return Ok(Manner::USUAL) };
    let mode = wire.mode();
    let DeliverySpec { path, mode: told, reply, batch_max, batch_wait_ms } = wire;
    if DeliveryMode::try_from(told).is_err() {
        let sentence = format!("field 'delivery.mode': {told} is none: binary or structured");
        return Err(Refusal::new(Code::InvalidArgument, sentence));
    }
    if batch_max > 0 && mode == DeliveryMode::Binary {
        let sentence =
            "field 'delivery.mode' is binary, and a batch has a form of its own: leave the mode out";
        return Err(Refusal::new(Code::InvalidArgument, sentence));
    }
    let reply = match &reply[..] {
        "" => None,
        // Queues and topics that people name, as everywhere.
        name => {
            name.parse::<FunctionName>().in_field("delivery.reply")?;
            Some(Name::parse(name).in_field("delivery.reply")?)
        }
    };
    let structured = mode == DeliveryMode::Structured;
    Ok(Manner { path, structured, reply, batch_max, batch_wait_ms })
}

/// What was told; none: what is usual.
pub(super) fn to_wire(manner: &Manner) -> Option<DeliverySpec> {
    let Manner { path, structured, reply, batch_max, batch_wait_ms } = manner;
    let mode = if *structured { DeliveryMode::Structured } else { DeliveryMode::Unspecified };
    (*manner != Manner::USUAL).then(|| DeliverySpec {
        path: path.clone(),
        mode: mode.into(),
        reply: reply.as_ref().map_or_else(String::new, Name::to_string),
        batch_max: *batch_max,
        batch_wait_ms: *batch_wait_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(change: impl FnOnce(&mut DeliverySpec)) -> Result<Manner, Refusal> {
        let mut wire = DeliverySpec::default();
        change(&mut wire);
        from_wire(Some(wire))
    }

    #[test]
    fn what_is_told_comes_back() {
        assert_eq!((from_wire(None), to_wire(&Manner::USUAL)), (Ok(Manner::USUAL), None));
        assert_eq!(told(|it| it.mode = DeliveryMode::Binary.into()), Ok(Manner::USUAL));
        let wire = DeliverySpec {
            path: "/p".into(),
            mode: DeliveryMode::Structured.into(),
            reply: "done".into(),
            batch_max: 0,
            batch_wait_ms: 0,
        };
        assert_eq!(to_wire(&from_wire(Some(wire.clone())).unwrap()), Some(wire));
        let batch = told(|it| (it.batch_max, it.batch_wait_ms) = (10, 50)).unwrap();
        assert_eq!(from_wire(to_wire(&batch)), Ok(batch));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (wrong, field) in [
            (told(|it| it.reply = "Done".into()), "delivery.reply"),
            (told(|it| it.reply = "function/f".into()), "delivery.reply"),
            (told(|it| it.mode = 9), "delivery.mode"),
            (told(|it| (it.mode, it.batch_max) = (1, 2)), "delivery.mode"),
        ] {
            let refusal = wrong.unwrap_err();
            assert!(refusal.code == Code::InvalidArgument && refusal.message.contains(field), "{refusal}");
        }
    }
}
