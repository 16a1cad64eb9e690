#!/bin/sh
# Makes the test certificates in this directory anew: for each layer an authority of its own and a
# server, and a client for the outer layer's mutual TLS. All keys are on P-256. The keys are
# public, so nothing may ever trust these certificates.
#
# Validity is fixed, 2026 to 2126; the programs believe that it is 2027.
set -eu
cd "$(dirname "$0")"
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
touch "$t/index"

cat > "$t/conf" <<END
[ca]
default_ca = ca
[ca]
database = $t/index
new_certs_dir = $t
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
[server]
extendedKeyUsage = serverAuth
subjectAltName = DNS:\${ENV::NAME}
[client]
extendedKeyUsage = clientAuth
END

# certificate FILE COMMON-NAME SECTION ISSUER; the issuer of an authority is itself
certificate() {
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$t/$1.key"
    NAME=$2 openssl req -new -config /dev/null -key "$t/$1.key" -subj "/CN=$2" -out "$t/$1.csr"
    if [ "$1" = "$4" ]; then by="-selfsign -keyfile $t/$1.key"; else by="-cert $t/$4.pem -keyfile $t/$4.key"; fi
    # shellcheck disable=SC2086
    NAME=$2 openssl ca -batch -notext -config "$t/conf" -extensions "$3" $by -in "$t/$1.csr" \
        -startdate 20260101000000Z -enddate 21260101000000Z -out "$t/$1.pem"
    openssl x509 -in "$t/$1.pem" -outform DER -out "$1.der"
    openssl pkcs8 -topk8 -nocrypt -in "$t/$1.key" -outform DER -out "$1.key.der"
}

certificate outer-ca "Outer authority" authority outer-ca
certificate inner-ca "Inner authority" authority inner-ca
certificate host host.test server outer-ca
certificate client "A client" client outer-ca
certificate hsm hsm.test server inner-ca
rm outer-ca.key.der inner-ca.key.der
