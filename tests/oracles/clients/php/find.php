<?php
// Logs in and finds people with PHP's SoapClient, given the address of the WSDL. SoapClient has no WS-Addressing: it sends the action in the
// content type alone, and its user adds the header Action, which UKG Pro needs.

const LOGIN = 'http://www.ultipro.com/services/loginservice';
const PERSON = 'http://www.ultipro.com/services/employeeperson';
const AUTHENTICATION = 'http://www.ultimatesoftware.com/foundation/authentication';
const ADDRESSING = 'http://www.w3.org/2005/08/addressing';

$base = getenv('BASE');
$key = getenv('CUSTOMER_API_KEY');
$options = [
    'soap_version' => SOAP_1_2,
    'cache_wsdl' => WSDL_CACHE_NONE,
    'stream_context' => stream_context_create(['ssl' => ['cafile' => getenv('CA_FILE')]]),
];

$login = new SoapClient("$base/LoginService?wsdl", $options);
$login->__setSoapHeaders([
    new SoapHeader(ADDRESSING, 'Action', LOGIN . '/ILoginService/Authenticate'),
    new SoapHeader(LOGIN, 'ClientAccessKey', $key),
    new SoapHeader(LOGIN, 'Password', getenv('PASSWORD')),
    new SoapHeader(LOGIN, 'UserAccessKey', getenv('USER_API_KEY')),
    new SoapHeader(LOGIN, 'UserName', getenv('USERNAME')),
]);
$answer = $login->Authenticate(new stdClass());

function find(string $token, array $query): object
{
    global $base, $key, $options;
    $person = new SoapClient("$base/EmployeePerson?wsdl", $options);
    $person->__setSoapHeaders([
        new SoapHeader(ADDRESSING, 'Action', PERSON . '/IEmployeePerson/FindPeople'),
        new SoapHeader(AUTHENTICATION . '/clientaccesskey', 'ClientAccessKey', $key),
        new SoapHeader(AUTHENTICATION . '/ultiprotoken', 'UltiProToken', $token),
    ]);
    return $person->FindPeople(['query' => $query])->FindPeopleResult;
}

$found = find($answer->Token, ['PageSize' => '2', 'LastName' => 'LIKE (%wick)']);
$names = implode(',', array_map(fn ($one) => $one->LastName, $found->Results->EmployeePerson));
$first = $found->Results->EmployeePerson[0]->People->Person;
try {
    find('no-token', []);
    $refused = 'taken';
} catch (SoapFault $fault) {
    $refused = $fault->getMessage();
}
echo "{$answer->Status} $names ({$first->EmailAddress}, {$first->EmployeeIdentifier->EmployeeNumber}) of {$found->OperationResult->PagingInfo->TotalItems}; a wrong token: $refused\n";
