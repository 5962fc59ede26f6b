//! What certificates say of a key beside the user whose it is: the principals by which a rule may name them.

use countersign_protocol::certificate::Certificate;
use countersign_protocol::keys::PublicKey;
use countersign_protocol::sshsig::Signed;

use super::Approvers;

impl Approvers {
    /// The certificate by which this key's word, said or to be said, counts as that of one of `principal`: the one that
    /// came with the signature, or one about the key that the administrator has put here. It has to name the user, too,
    /// and the approvers have to accept its authority for both: else one person with two certified devices could be two.
    ///
    /// # Errors
    /// Why not, for the log.
    pub(crate) fn certify(
        &self,
        principal: &str,
        user: &str,
        signed: &Signed,
        at_unix: u64,
    ) -> Result<Certificate, String> {
        if principal == user {
            // Else an account of that name would be one by the certificate of its own.
            return Err(format!(
                "\"principal:{principal}\" is {user}'s own name, and nobody is a group by that"
            ));
        }
        let here = self.certificates.content(&self.log).unwrap_or_default();
        let mut refusal = String::from("there is none");
        for certificate in signed.certificate.iter().chain(here.of(&signed.key)) {
            let by = with(certificate);
            let names = [user, principal];
            match names.into_iter().try_for_each(|name| self.authorize(name, &by, at_unix)) {
                Ok(()) => return Ok(certificate.clone()),
                Err(why) => refusal = why,
            }
        }
        Err(format!("no certificate of its key counts for {user} and \"principal:{principal}\": {refusal}"))
    }

    /// The principals beside the user's own name that a device's certificates make its user one of now.
    pub(crate) fn principals_of(&self, user: &str, key: &PublicKey, at_unix: u64) -> Vec<String> {
        let here = self.certificates.content(&self.log).unwrap_or_default();
        let signed = Signed { key: key.clone(), certificate: None };
        let named = here.of(key).iter().flat_map(Certificate::principals);
        let mut names: Vec<String> =
            named.filter(|name| self.certify(name, user, &signed, at_unix).is_ok()).cloned().collect();
        names.sort();
        names.dedup();
        names
    }
}

/// As if it had come with a signature of its key.
fn with(certificate: &Certificate) -> Signed {
    Signed { key: certificate.key().clone(), certificate: Some(certificate.clone()) }
}
