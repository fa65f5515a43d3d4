"""Holds that what the services answer is valid by the schemas they serve, as libxml2 reads both."""

import html
import os
import sys

import requests
from lxml import etree

base, key = os.environ["BASE"], os.environ["CUSTOMER_API_KEY"]
SCHEMA = "http://www.w3.org/2001/XMLSchema"
SOAP = "http://www.w3.org/2003/05/soap-envelope"
LOGIN = "http://www.ultipro.com/services/loginservice"
AUTHENTICATION = "http://www.ultimatesoftware.com/foundation/authentication"
SERVICES = {
    "EmployeePerson": "FindPeople",
    "EmployeeJob": "FindJobs",
    "EmployeeEmploymentInformation": "FindEmploymentInformations",
    # Its row is not ticked.
    "EmployeeCompensation": "FindCompensations",
}


class Fetch(etree.Resolver):
    """libxml2 has no HTTPS."""

    def resolve(self, url, _, context):
        return self.resolve_string(get(url), context)


def get(url):
    answer = requests.get(url, timeout=30)
    answer.raise_for_status()
    return answer.content


def schema(service):
    """All schemas of a service, as its contract imports them."""
    contract = etree.fromstring(get(f"{base}/{service}?wsdl=wsdl0"))
    imports = contract.find(f".//{{{SCHEMA}}}schema")
    parser = etree.XMLParser(no_network=False)
    parser.resolvers.add(Fetch())
    return etree.XMLSchema(etree.fromstring(etree.tostring(imports), parser))


def call(service, action, headers, body):
    envelope = (
        f'<s:Envelope xmlns:s="{SOAP}" xmlns:a="http://www.w3.org/2005/08/addressing"><s:Header>'
        f'<a:Action s:mustUnderstand="1">{action}</a:Action>'
        + "".join(f'<{name} xmlns="{namespace}">{value}</{name}>' for namespace, name, value in headers)
        + f"</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    )
    answer = requests.post(
        f"{base}/{service}", envelope.encode(), headers={"Content-Type": "application/soap+xml; charset=utf-8"}, timeout=30
    )
    answer.raise_for_status()
    return etree.fromstring(answer.content).find(f"{{{SOAP}}}Body")[0]


def login(password):
    secrets = {"ClientAccessKey": key, "Password": password, "UserAccessKey": os.environ["USER_API_KEY"], "UserName": os.environ["USERNAME"]}
    headers = [(LOGIN, name, html.escape(value, quote=False)) for name, value in secrets.items()]
    return call("LoginService", f"{LOGIN}/ILoginService/Authenticate", headers, '<TokenRequest xmlns="http://www.ultipro.com/contracts"/>')


def main():
    accepted, refused = login(os.environ["PASSWORD"]), login("wrong")
    answers = [("LoginService", accepted), ("LoginService", refused)]
    token = accepted.findtext(f"{{{LOGIN}}}Token")
    for service, operation in SERVICES.items():
        namespace = f"http://www.ultipro.com/services/{service.lower()}"
        headers = [(f"{AUTHENTICATION}/ultiprotoken", "UltiProToken", token), (f"{AUTHENTICATION}/clientaccesskey", "ClientAccessKey", key)]
        for query in ("<b:PageSize>2</b:PageSize>", "<b:LastName>= (no one)</b:LastName>", "<b:LastName>no condition</b:LastName>"):
            body = f'<{operation} xmlns="{namespace}"><query xmlns:b="http://www.ultipro.com/contracts">{query}</query></{operation}>'
            answers.append((service, call(service, f"{namespace}/I{service}/{operation}", headers, body)))
    schemas = {service: schema(service) for service in dict(answers)}
    for service, answer in answers:
        # On its own, as libxml2 would look for the envelope too.
        alone = etree.fromstring(etree.tostring(answer))
        if not schemas[service].validate(alone):
            sys.exit(f"{service}: {schemas[service].error_log}")
    print(f"{len(answers)} answers of {len(schemas)} services are valid")


main()
