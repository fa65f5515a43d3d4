"""Logs in and finds people with zeep, given the address of the WSDL and nothing else of the services."""

import os

import zeep

base, key = os.environ["BASE"], os.environ["CUSTOMER_API_KEY"]

login = zeep.Client(f"{base}/LoginService?wsdl")
answer = login.service.Authenticate(
    _soapheaders={
        "ClientAccessKey": key,
        "Password": os.environ["PASSWORD"],
        "UserAccessKey": os.environ["USER_API_KEY"],
        "UserName": os.environ["USERNAME"],
    }
)


def find(token, **query):
    person = zeep.Client(f"{base}/EmployeePerson?singleWsdl")
    headers = {"ClientAccessKey": key, "UltiProToken": token}
    return person.service.FindPeople(_soapheaders=headers, query=query)


found = find(answer.Token, PageSize="2", LastName="LIKE (%wick)")
names = ",".join(person.LastName for person in found.Results.EmployeePerson)
try:
    find("no-token")
    refused = "taken"
except zeep.exceptions.Fault as fault:
    refused = fault.message
first = found.Results.EmployeePerson[0].People.Person[0]
print(f"{answer.Status} {names} ({first.EmailAddress}, {first.EmployeeIdentifier.EmployeeNumber}) of {found.OperationResult.PagingInfo.TotalItems}; a wrong token: {refused}")
