//! Distinguished names with the string types that OpenSSL chooses.

use der::Tag;
use der::asn1::{Any, ObjectIdentifier, SetOfVec};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{Name, RelativeDistinguishedName};

use super::Error;

const COMMON_NAME: &str = "2.5.4.3";
const COUNTRY: &str = "2.5.4.6";
const LOCALITY: &str = "2.5.4.7";
const STATE: &str = "2.5.4.8";
const ORGANISATION: &str = "2.5.4.10";
const UNIT: &str = "2.5.4.11";
const EMAIL: &str = "1.2.840.113549.1.9.1";

/// A subject: relative names from the most general on, each of one or several attributes.
#[derive(Clone, Debug)]
pub(crate) struct Subject(Vec<Vec<(&'static str, String)>>);

impl Subject {
    /// The host's, with one of the two units seen.
    pub(crate) fn aws(unit: &str) -> Self {
        Self::single([
            (COUNTRY, "US"),
            (STATE, "Virginia"),
            (LOCALITY, "Herndon"),
            (ORGANISATION, "AWS"),
            (UNIT, unit),
            (COMMON_NAME, "CloudHSM"),
            (EMAIL, "cloudhsm-team@amazon.com"),
        ])
    }

    /// An HSM's: five attributes in *one* relative name, then a common name that contains a comma.
    pub(crate) fn hsm(id: &str) -> Self {
        let attributes = [
            (COUNTRY, "US"),
            (STATE, "CA"),
            (ORGANISATION, "Cavium"),
            (UNIT, "N3FIPS"),
            (LOCALITY, "SanJose"),
        ];
        let common_name = format!("HSM:{id}:PARTN:1, for FIPS mode");
        Self(vec![
            attributes.map(|(oid, value)| (oid, value.into())).into(),
            vec![(COMMON_NAME, common_name)],
        ])
    }

    /// One of the customer's own making.
    pub(crate) fn customer(common_name: &str) -> Self {
        Self::single([
            (COUNTRY, "US"),
            (ORGANISATION, "Throwaway customer"),
            (COMMON_NAME, common_name),
        ])
    }

    fn single<const N: usize>(attributes: [(&'static str, &str); N]) -> Self {
        Self(attributes.map(|(oid, value)| vec![(oid, value.into())]).into())
    }

    pub(super) fn to_name(&self) -> Result<Name, Error> {
        let relative = |attributes: &Vec<(&str, String)>| {
            let set = attributes
                .iter()
                .map(|(oid, value)| attribute(oid, value))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(RelativeDistinguishedName(SetOfVec::try_from(set)?))
        };
        Ok(Name::from(self.0.iter().map(relative).collect::<Result<Vec<_>, Error>>()?))
    }
}

fn attribute(oid: &str, value: &str) -> Result<AttributeTypeAndValue, Error> {
    let tag = match oid {
        COUNTRY => Tag::PrintableString,
        EMAIL => Tag::Ia5String,
        _ => Tag::Utf8String,
    };
    let oid = ObjectIdentifier::new(oid).map_err(der::Error::from)?;
    Ok(AttributeTypeAndValue { oid, value: Any::new(tag, value.as_bytes())? })
}
