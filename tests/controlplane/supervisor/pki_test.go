package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"testing"
)

func TestTheServerCertificateHoldsForItsNamesOnly(t *testing.T) {
	ca, roots := testAuthority(t)
	server, err := ca.server("kubernetes.default.svc", "localhost", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}

	certificate := parsePair(t, server)
	for name, valid := range map[string]bool{
		"kubernetes.default.svc": true,
		"localhost":              true,
		"127.0.0.1":              true,
		"127.0.0.2":              false,
		"example.com":            false,
	} {
		_, err := certificate.Verify(x509.VerifyOptions{Roots: roots, DNSName: name})
		if (err == nil) != valid {
			t.Errorf("%s: valid should be %t: %v", name, valid, err)
		}
	}
	if verifies(certificate, roots, x509.ExtKeyUsageClientAuth) {
		t.Error("the server's certificate passes for a client's")
	}
}

func TestAClientCertificateSaysUserAndGroups(t *testing.T) {
	ca, roots := testAuthority(t)
	client, err := ca.client("somebody", "system:masters")
	if err != nil {
		t.Fatal(err)
	}

	certificate := parsePair(t, client)
	if !verifies(certificate, roots, x509.ExtKeyUsageClientAuth) || verifies(certificate, roots, x509.ExtKeyUsageServerAuth) {
		t.Error("it should be a client's certificate and no server's")
	}
	if certificate.Subject.CommonName != "somebody" || !slices.Equal(certificate.Subject.Organization, []string{"system:masters"}) {
		t.Errorf("it is for %s", certificate.Subject)
	}
}

func TestOneAuthorityDoesNotVouchForAnother(t *testing.T) {
	ca, _ := testAuthority(t)
	_, others := testAuthority(t)
	client, err := ca.client("somebody")
	if err != nil {
		t.Fatal(err)
	}

	if verifies(parsePair(t, client), others, x509.ExtKeyUsageClientAuth) {
		t.Error("two control planes accept each other's clients")
	}
}

func TestTheSigningKeyIsInTheFormTheAPIServerReads(t *testing.T) {
	key, err := signingKey()
	if err != nil {
		t.Fatal(err)
	}

	block, rest := pem.Decode(key)
	if block == nil || block.Type != "EC PRIVATE KEY" || len(rest) > 0 {
		t.Fatalf("not one SEC 1 key: %q", key)
	}
	if _, err := x509.ParseECPrivateKey(block.Bytes); err != nil {
		t.Error(err)
	}
}

func testAuthority(t *testing.T) (*authority, *x509.CertPool) {
	t.Helper()
	ca, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca.pem) {
		t.Fatal("the authority's certificate is not PEM")
	}
	return ca, roots
}

// parsePair also sees to it that certificate and key belong together.
func parsePair(t *testing.T, i identity) *x509.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(i.certificate, i.key)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func verifies(certificate *x509.Certificate, roots *x509.CertPool, usage x509.ExtKeyUsage) bool {
	_, err := certificate.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}})
	return err == nil
}
