#!/usr/bin/env bash
# zeep 4.3.3 (Python 3): a WSDL that asks for WS-Addressing gets none, unless each operation names its action.
#
# Expected: `wsaw:UsingAddressing` in a binding, or as the policy assertion it refers to, is how a WSDL says that requests carry
# WS-Addressing headers; `wsaw:Action` on an operation's input only overrides the action's default value. So a client sends Action,
# MessageID and To in each of the four cases below.
#
# Seen: zeep looks at `wsaw:Action` alone. With UsingAddressing and without it, it sends no header and says nothing; with it and without
# UsingAddressing, it sends all three.
#
# Output seen:
#   UsingAddressing in the policy: none
#   UsingAddressing in the binding: none
#   Action on the operation: Action, MessageID, To
#   both: Action, MessageID, To
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"

python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check zeep==4.3.3

cat > ask.py <<'EOF'
import lxml.etree
import zeep

WSDL = """<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap12/" xmlns:t="urn:login"
    xmlns:wsaw="http://www.w3.org/2006/05/addressing/wsdl" xmlns:wsp="http://schemas.xmlsoap.org/ws/2004/09/policy"
    xmlns:wsu="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd" targetNamespace="urn:login">
  <wsp:Policy wsu:Id="addressing">{policy}</wsp:Policy>
  <types>
    <schema xmlns="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:login" elementFormDefault="qualified">
      <element name="Request"><complexType><sequence/></complexType></element>
      <element name="Response" type="string"/>
    </schema>
  </types>
  <message name="In"><part name="body" element="t:Request"/></message>
  <message name="Out"><part name="body" element="t:Response"/></message>
  <portType name="Login"><operation name="Ask"><input message="t:In" {action}/><output message="t:Out"/></operation></portType>
  <binding name="LoginBinding" type="t:Login">
    <wsp:PolicyReference URI="#addressing"/>{binding}
    <soap:binding transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="Ask">
      <soap:operation soapAction="urn:login/Ask"/>
      <input><soap:body use="literal"/></input>
      <output><soap:body use="literal"/></output>
    </operation>
  </binding>
  <service name="LoginService"><port name="LoginPort" binding="t:LoginBinding"><soap:address location="http://127.0.0.1/"/></port></service>
</definitions>"""
USING = "<wsaw:UsingAddressing/>"
ACTION = 'wsaw:Action="urn:login/Ask"'
for title, policy, binding, action in [
    ("UsingAddressing in the policy", USING, "", ""),
    ("UsingAddressing in the binding", "", USING, ""),
    ("Action on the operation", "", "", ACTION),
    ("both", USING, USING, ACTION),
]:
    with open("login.wsdl", "w") as file:
        file.write(WSDL.format(policy=policy, binding=binding, action=action))
    client = zeep.Client("login.wsdl")
    message = client.create_message(client.service, "Ask")
    header = message.find("{http://www.w3.org/2003/05/soap-envelope}Header")
    names = [] if header is None else [lxml.etree.QName(each).localname for each in header]
    print(f"{title}: {', '.join(names) or 'none'}")
EOF

diff - <(timeout 120 environment/bin/python ask.py) <<'EOF'
UsingAddressing in the policy: none
UsingAddressing in the binding: none
Action on the operation: Action, MessageID, To
both: Action, MessageID, To
EOF
echo "still so"
