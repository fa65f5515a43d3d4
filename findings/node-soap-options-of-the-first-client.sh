#!/usr/bin/env bash
# npm `soap` 1.13.0 (on Node.js 20): two clients of one WSDL share the options of the first.
#
# Expected: each client reads answers by the options it was made with.
#
# Seen: `createClientAsync` keeps the parsed WSDL by its address, and with it the options of whoever asked first. A second client of
# the same WSDL in the same process, made with `handleNilAsNull: true`, leaves nil members out as the first does; nothing is said. With
# `disableCache: true` it gives null. Whether a member is absent or null thus depends on which part of a program was first.
#
# Output seen:
#   first, nil left out:  {"Status":"Ok"}
#   second, nil as null:  {"Status":"Ok"}
#   third, not cached:    {"Status":"Ok","StatusMessage":null}
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"

cat > package.json <<'EOF'
{"private": true, "dependencies": {"soap": "1.13.0"}}
EOF
npm install --no-audit --no-fund --ignore-scripts --silent

cat > login.wsdl <<'EOF'
<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap12/" xmlns:t="urn:login" targetNamespace="urn:login">
  <types>
    <schema xmlns="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:login" elementFormDefault="qualified">
      <element name="Request"><complexType><sequence/></complexType></element>
      <element name="Response"><complexType><sequence>
        <element name="Status" type="string"/>
        <element name="StatusMessage" type="string" nillable="true" minOccurs="0"/>
      </sequence></complexType></element>
    </schema>
  </types>
  <message name="In"><part name="body" element="t:Request"/></message>
  <message name="Out"><part name="body" element="t:Response"/></message>
  <portType name="Login"><operation name="Ask"><input message="t:In"/><output message="t:Out"/></operation></portType>
  <binding name="LoginBinding" type="t:Login">
    <soap:binding transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="Ask">
      <soap:operation soapAction="urn:login/Ask"/>
      <input><soap:body use="literal"/></input>
      <output><soap:body use="literal"/></output>
    </operation>
  </binding>
  <service name="LoginService"><port name="LoginPort" binding="t:LoginBinding"><soap:address location="http://127.0.0.1/"/></port></service>
</definitions>
EOF

cat > ask.js <<'EOF'
const http = require('http');
const soap = require('soap');
const answer = `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><s:Body>
<Response xmlns="urn:login"><Status>Ok</Status><StatusMessage xsi:nil="true"/></Response></s:Body></s:Envelope>`;
const server = http.createServer((request, response) => {
  response.setHeader('content-type', 'application/soap+xml');
  response.end(answer);
});
server.listen(0, '127.0.0.1', async () => {
  const endpoint = `http://127.0.0.1:${server.address().port}/`;
  const ask = async (title, options) => {
    const client = await soap.createClientAsync('login.wsdl', { endpoint, forceSoap12Headers: true, ...options });
    const [found] = await client.AskAsync({});
    console.log(`${title} ${JSON.stringify(found)}`);
  };
  await ask('first, nil left out: ', { handleNilAsNull: false });
  await ask('second, nil as null: ', { handleNilAsNull: true });
  await ask('third, not cached:   ', { handleNilAsNull: true, disableCache: true });
  server.close();
});
EOF

diff - <(timeout 60 node ask.js) <<'EOF'
first, nil left out:  {"Status":"Ok"}
second, nil as null:  {"Status":"Ok"}
third, not cached:    {"Status":"Ok","StatusMessage":null}
EOF
echo "still so"
